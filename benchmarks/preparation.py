"""Preparing synthetic prompt rows, near-duplicates and contamination control on: time and memory by size.

    python benchmarks/preparation.py                     # 100,000, 200,000 and 1,000,000 rows
    python benchmarks/preparation.py 20000 40000

Each size runs in a process of its own. Rows are pseudo-English of 6 to 40 words (three in four of them short); 1 %
are copies, 1 % copies with a slip or a word of politeness, 0.5 % such copies of one of 1,000 evaluation prompts.
Printed: seconds (wall and CPU), peak resident memory, memory per further row, time per row against the smallest.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (100_000, 200_000, 1_000_000)
EVALUATION = 1000
SYLLABLES = [c + v + e for c in "bcdfghklmnprstvw" for v in "aeiou" for e in ("", "n", "r", "s", "l")]
FRAMES = (
    "How do I {}?",
    "What is the best way to {}?",
    "Please explain {}.",
    "{}",
    "Tell me about {}",
    "Write {}.",
)


class Writer:
    """Pseudo-English: words of two or three syllables, drawn with frequencies like those of a language."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311
        words = sorted({"".join(self.dice.choices(SYLLABLES, k=2 + i % 2)) for i in range(30_000)})
        self.dice.shuffle(words)
        self.words, self.weights = words, [1 / (rank + 20) for rank in range(len(words))]
        self._drawn: list[str] = []

    def word(self) -> str:
        if not self._drawn:
            self._drawn = self.dice.choices(self.words, self.weights, k=100_000)
        return self._drawn.pop()

    def prompt(self) -> str:
        length = self.dice.randrange(5, 12) if self.dice.random() < 0.75 else self.dice.randrange(12, 40)
        return self.dice.choice(FRAMES).format(" ".join(self.word() for _ in range(length)))

    def edited(self, text: str) -> str:
        kind = self.dice.randrange(3)
        if kind == 0:
            return "Please, " + text.lower()
        at = self.dice.randrange(len(text) - 1)
        return text.upper() if kind == 1 else text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def write_rows(root: Path, rows: int) -> None:
    """`rows` training rows and the evaluation rows, as JSONL."""
    writer = Writer(0)
    evaluation = [writer.prompt() for _ in range(EVALUATION)]
    categories = ("harmful", "harmless", "ambiguous")
    with (root / "evaluation.jsonl").open("w") as file:
        for number, prompt in enumerate(evaluation):
            file.write(
                json.dumps({"prompt": prompt, "category": categories[number % 3], "suite": "x"}) + "\n"
            )
    recent: list[str] = []
    with (root / "prompts.jsonl").open("w") as file:
        for number in range(rows):
            chance = writer.dice.random()
            if chance < 0.005:
                prompt = writer.edited(writer.dice.choice(evaluation))
            elif chance < 0.015 and recent:
                prompt = writer.dice.choice(recent)
            elif chance < 0.025 and recent:
                prompt = writer.edited(writer.dice.choice(recent))
            else:
                prompt = writer.prompt()
                recent = [*recent[-999:], prompt]
            row = {"id": str(number), "prompt": prompt, "category": categories[number % 3]}
            file.write(json.dumps(row) + "\n")


def measure(rows: int) -> dict[str, float]:
    from sear_core.data.preparation import prepare
    from sear_core.data.sources import Source

    with tempfile.TemporaryDirectory() as scratch:
        root, out = Path(scratch) / "root", Path(scratch) / "out"
        root.mkdir()
        out.mkdir()
        subprocess.run([sys.executable, __file__, "--write", str(root), str(rows)], check=True)
        sources = [
            Source(name="prompts", path="prompts.jsonl", role="rl_prompts", licence="none"),
            Source(name="evaluation", path="evaluation.jsonl", role="evaluation", licence="none"),
        ]
        wall, cpu = time.perf_counter(), time.process_time()
        report = prepare(root=root, sources=sources, out=out, near_duplicates=True, rl_prompts=rows // 2)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux: kilobytes
    return {
        "rows": rows,
        "seconds": wall,
        "cpu": cpu,
        "peak": peak,
        "removed": report.removed,
    } | report.reasons


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--write"]:
        return write_rows(Path(arguments[1]), int(arguments[2]))
    if arguments[:1] == ["--measure"]:
        return print(json.dumps(measure(int(arguments[1]))))
    first: dict[str, float] = {}
    for rows in map(int, arguments or SIZES):
        command = [sys.executable, __file__, "--measure", str(rows)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        first = first or found
        line = (
            f"{rows:>9} rows  {found['seconds'] / 60:6.2f} min wall  {found['cpu'] / 60:6.2f} min CPU  "
            f"peak {found['peak'] / 1e9:5.2f} GB  "
        )
        if found is not first:
            further = (found["peak"] - first["peak"]) / (rows - first["rows"])
            ratio = found["cpu"] / rows / (first["cpu"] / first["rows"])
            line += f"{further:5.0f} bytes per further row  CPU time per row × {ratio:.2f}  "
            line += f"(wall × {found['seconds'] / rows / (first['seconds'] / first['rows']):.2f})"
        print(line, flush=True)
        reasons = {key: found[key] for key in sorted(found) if key not in ("rows", "seconds", "cpu", "peak")}
        print(" " * 10 + ", ".join(f"{key} {value}" for key, value in reasons.items()), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main(sys.argv[1:])
