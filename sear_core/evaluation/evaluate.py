"""One model, evaluated: the way of a row from the suite to the metrics. Our choice throughout.

    suite row --attacks--> request --generation--> completion --judges--> verdict --metrics--> rates

Every step is pure but generation (asking.py), which keeps its finished batches (generation.py), so that a run that
was broken off goes on where it was.

What an evaluation's directory holds (an interval is `[value, low, high]`, 95 %):

    completions.parquet  a row per completion (records.COMPLETIONS): enough to judge again without generating
    metrics.json         {name: number}: the headline rates, each with `.low` and `.high`; under an attack at its
                         default strength `dsr.<attack>`, at strength k `dsr.<attack>@<k>` (and so on for the
                         others); `minimum_detectable.<rate>`: two models that differ by less cannot be told apart;
                         `worst_slice.<rate>`
    slices.json          {"rows": [{"suite", "slice", "condition", "metric": "dsr" | "compliance" | "accuracy",
                         "value", "low", "high", "prompts"}], "suites": the same of whole suites (slice ""),
                         "worst": {metric: one of the rows}, "notes": [what was left out, and why]}
    curves.json          {attack: {"unit": "words" | "tokens" | …, "description", "points": [{"condition",
                         "strength": number, "default": bool, "dsr": interval | null,
                         "compliance": interval | null, "malformed": interval | null}]}}, by rising strength;
                         strength 0 is condition `none`. Of a default that is no number (the whole text) the
                         strength is what it forced, on average
    evaluation.json      {"schema_version": 1, "judge", "seed", "samples", "temperature", "conditions": [{"name",
                         "attack", "strength": number | null, "unit", "default", "kind", "description"}],
                         "suites": {suite: {category: prompts}}}
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sear_core.errors import InputError
from sear_core.evaluation import capability, metrics, slices, suites
from sear_core.evaluation.asking import Progress, answers, ask
from sear_core.evaluation.attacks import NONE, Attack
from sear_core.evaluation.conditions import Condition
from sear_core.evaluation.generation import write_parquet
from sear_core.evaluation.judges import Judge
from sear_core.evaluation.records import COMPLETIONS, judge_records, judged, record

SCHEMA_VERSION = 1
CARRIED = ("perplexity", "bits_per_byte")  # what judging anew cannot tell


def evaluate_model(
    *,
    out: Path,
    judge: Judge,
    reasoning_harmlessness: bool = False,
    max_steps: int = 8,
    chunks: Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> dict[str, float]:
    """Evaluate a model on rows of the table `evaluation`; the headline metrics. `settings`: those of asking.ask.

    Writes the files above; the same bytes for the same input, on the same machine. `chunks` (default:
    out/chunks) holds finished batches until all is done; those that lie there already are taken. Raises
    InputError as `ask` does.
    """
    chunks = chunks or out / "chunks"
    asked = ask(chunks=chunks, **settings)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = asked.tools.tokenizer
    records = [row for answered in answers(asked, progress) for row in record(answered, tokenizer)]
    about = {
        "schema_version": SCHEMA_VERSION, "judge": judge.name, "seed": asked.tools.seed, "samples": asked.samples,
        "temperature": asked.temperature, "conditions": [condition.as_json() for condition in asked.conditions],
        "suites": suites.counts(asked.suite), "reasoning_harmlessness": reasoning_harmlessness,
    }  # fmt: skip
    skill = capability.perplexity(asked.tools.model, tokenizer, asked.suite, asked.batch_size)
    judged_records = judge_records(records, judge, max_steps)
    values = finish(judged_records, asked.conditions, about, asked.notes, _flat(skill), out)
    shutil.rmtree(chunks, ignore_errors=True)
    return values


def rejudge(*, source: Path, out: Path, judge: Judge, max_steps: int = 8) -> dict[str, float]:
    """Judge a finished evaluation's completions anew, without the model; writes the same files into `out`.

    What only the model can tell (perplexity) is taken over. Raises InputError where `source` is no evaluation.
    """
    about, records, before = _read(source)
    about |= {"judge": judge.name}
    conditions = [
        Condition(
            Attack(row["attack"], row["description"], NONE.build, row["kind"], row["unit"], row["default"]),
            row["strength"],
        )
        for row in about["conditions"]
    ]
    carried = {name: value for name, value in before.items() if name.startswith(CARRIED)}
    out.mkdir(parents=True, exist_ok=True)
    return finish(judge_records(records, judge, max_steps), conditions, about, [], carried, out)


def finish(
    records: list[dict[str, Any]],
    conditions: Sequence[Condition],
    about: Mapping[str, Any],
    notes: Sequence[str],
    extra: Mapping[str, float],
    out: Path,
) -> dict[str, float]:
    """Judged records -> metrics, slices, curves; all written into `out`."""
    rows = [judged(row) for row in records]
    attacks = [condition for condition in conditions if condition.attack.kind == "attack"]
    summary = metrics.summarise(
        rows,
        [condition.name for condition in attacks if condition.strength is None],
        any(condition.attack.kind == "reasoning_use" for condition in conditions),
        [condition.name for condition in attacks if condition.strength is not None],
        bool(about.get("reasoning_harmlessness")),
    )
    table = slices.slice_rows(rows, ["none", *(condition.name for condition in attacks)])
    parts = [row for row in table if row["slice"]]
    worst = slices.worst(parts)
    values = summary.values | dict(extra)
    for name, row in worst.items():
        values |= _flat({f"worst_slice.{name}": (row["value"], row["low"], row["high"])})
    forced: dict[str, list[int]] = {}
    for row in records:
        forced.setdefault(row["condition"], []).append(row["forced"])
    means = {name: sum(numbers) / len(numbers) for name, numbers in forced.items()}
    write_parquet(records, COMPLETIONS, out / "completions.parquet")
    _write_json(
        out / "slices.json",
        {
            "rows": parts,
            "suites": [row for row in table if not row["slice"]],
            "worst": worst,
            "notes": [*notes, *summary.notes],
        },
    )
    _write_json(out / "curves.json", slices.curves(rows, conditions, means))
    _write_json(out / "evaluation.json", about)
    _write_json(out / "metrics.json", values)
    return values


def _read(source: Path) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, float]]:
    """What an evaluation was, its completions, its metrics."""
    folder = source.parent if source.name == "completions.parquet" else source
    try:
        about = json.loads((folder / "evaluation.json").read_text("utf-8"))
        before = json.loads((folder / "metrics.json").read_text("utf-8"))
        table = pq.read_table(folder / "completions.parquet")
    except FileNotFoundError as error:
        raise InputError(
            f"{source}: no {Path(str(error.filename)).name} there; expected the directory of an evaluation"
        ) from None
    except (ValueError, OSError, pa.ArrowException) as error:
        raise InputError(f"{source}: cannot be read as an evaluation: {error}") from None
    missing = [name for name in COMPLETIONS.names if name not in table.column_names]
    if missing or about.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{source}: an evaluation of another version{f' (no column {missing[0]!r})' if missing else ''}"
        )
    return about, table.to_pylist(), before


def _flat(intervals: Mapping[str, tuple[float, float, float]]) -> dict[str, float]:
    """{name, name.low, name.high}, without what is not a number."""
    ends = ("", ".low", ".high")
    return {
        f"{name}{end}": number
        for name, interval in intervals.items()
        for end, number in zip(ends, interval, strict=True)
        if number == number
    }


def _write_json(path: Path, content: Any) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n", "utf-8")
    temporary.replace(path)
