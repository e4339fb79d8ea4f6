"""Sources to prepared tables: a pure function of the source files, the arguments and this code.

The order of the steps is the order of `prepare`: read and map (sources.py), row by row onto disk (staging.py) ->
unusable rows and duplicates out (cleaning.py) -> contamination and near-duplicates out -> leaks between splits out
-> RL prompts mixed (splits.py) -> template traces where there are none (template_rows.py) -> written, sorted by id.

`out` then holds `tables/<table>.parquet` (schema.py), `removed.jsonl` (each row taken out, and why),
`report.json`, `card.json` and `card.md`. Bytes depend on nothing else: not on the hash seed, the working
directory, the time zone, the locale or the number of threads. Rows are never held all at once, but for template
traces, which are made from all prompts.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sear_core.data import card, cleaning, splits
from sear_core.data.cleaning import Limits
from sear_core.data.sources import Source, file_sha256, source_sha256, stream_source
from sear_core.data.staging import Removal, Row, Staged
from sear_core.data.tokens import token_counter
from sear_core.errors import InputError
from sear_core.schema import CATEGORIES, TABLES, write_table


@dataclass(frozen=True)
class PreparationReport:
    """What was prepared: `report.json` in the output folder has the same."""

    rows: dict[str, int]  # per table
    counts: list[dict[str, Any]]  # table, split, category, source, rows
    removed: int  # rows taken out, each listed in removed.jsonl
    reasons: dict[str, int]  # reason -> rows taken out
    left_out: dict[str, int]  # rows not chosen: by `where`, by `limit`, by the mix of RL prompts
    sources: list[dict[str, Any]]  # name, path, role, licence, sha256, read, kept
    sha256: str  # of the tables


def prepare(
    *,
    root: Path,
    sources: Sequence[Source],
    out: Path,
    seed: int = 0,
    validation_share: float = 0.1,
    max_prompt_chars: int = 2000,
    max_answer_chars: int = 2000,
    max_prompt_tokens: int | None = None,
    max_answer_tokens: int | None = None,
    tokenizer: str | None = None,
    template_traces: int = 0,
    rl_prompts: int | None = None,
    harmful_share: float | None = None,
    harmless_per_ambiguous: float = 1.0,
    near_duplicates: bool = False,
) -> PreparationReport:
    """Read the sources under `root` and write the six tables below the existing, empty folder `out`.

    The caller gives a temporary folder and renames it. `template_traces` is a number of traces per RL prompt.
    Training prompts that are nearly evaluation prompts always go (likeness.py); `near_duplicates` also takes all but
    one of nearly equal prompts out of a table.
    Lengths in tokens are those of `tokenizer` (a folder with tokenizer.json, or that file), or estimated.
    Raises InputError: whatever sources.py raises, two sources of one name, a mix that is impossible.
    """
    names = [source.name for source in sources]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(f"data.sources: the name {repeated[0]!r} stands twice; names must differ")
    if not sources:
        raise InputError("data.sources: empty, expected at least one source")
    limits = Limits(
        max_prompt_chars, max_answer_chars, max_prompt_tokens, max_answer_tokens, token_counter(tokenizer)
    )  # fmt: skip
    staged = {name: Staged(name, out) for name in TABLES}
    try:
        words: Counter[str] = Counter()  # in how many prompts
        left_out: Counter[str] = Counter()
        ordered = sorted(sources, key=lambda source: source.name)
        read, removals = _stage(ordered, root, staged, limits, validation_share, left_out, words)
        for table in staged.values():
            removals += cleaning.drop_duplicates(table)
        removals += cleaning.drop_contaminated(staged, words)
        if near_duplicates:
            for name, table in staged.items():
                if name != "evaluation":
                    removals += cleaning.drop_near_duplicates(table, words)
        removals += cleaning.drop_split_leaks(staged)
        weights = {source.name: source.weight for source in ordered}
        if rl_prompts is not None or harmful_share is not None:
            left_out["mix"] = _mix(
                staged["rl_prompts"], weights, total=rl_prompts, harmful_share=harmful_share,
                harmless_per_ambiguous=harmless_per_ambiguous, seed=seed,
            )  # fmt: skip
        kept = sum((_kept(table) for table in staged.values()), Counter())
        about = [_about(source, root, read[source.name], kept[source.name]) for source in ordered]
        tables: dict[str, Iterable[Row]] = {name: table.rows() for name, table in staged.items()}
        if template_traces:
            from sear_core.data.template_rows import add_template_traces

            held = {name: list(rows) for name, rows in tables.items()}
            add_template_traces(held, template_traces, seed)
            tables = {name: sorted(rows, key=lambda row: row["id"]) for name, rows in held.items()}
        return _write(out, tables, removals, dict(left_out), about)
    finally:
        for table in staged.values():
            table.close()


def table_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of the tables in a folder, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.parquet")):
        digest.update(f"{path.name}\0{file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _stage(
    sources: Sequence[Source],
    root: Path,
    staged: dict[str, Staged],
    limits: Limits,
    validation_share: float,
    left_out: Counter[str],
    words: Counter[str],
) -> tuple[dict[str, int], list[Removal]]:
    """Read every source into its table. Returns rows read by source, and the removals of unusable rows and of
    rows that agree in a source's `unique` columns."""
    read: dict[str, int] = {}
    reasons: dict[str, list[str]] = {name: [] for name in TABLES}
    seen: set[int] = set()
    for source in sources:
        counts: Counter[str] = Counter()
        table = staged[source.role]
        for row in stream_source(source, root, counts):
            row["split"] = splits.split_of(row, source.role, validation_share)
            del row["_group"]
            reasons[source.role].append(cleaning.unusable(row, source.role, limits))
            prompt = table.append(row, source.unique)
            if prompt not in seen:
                seen.add(prompt)
                cleaning.count_words(words, row["prompt"])
        read[source.name] = counts["read"]
        left_out.update({reason: counts[reason] for reason in ("where", "limit")})
    removals: list[Removal] = []
    unique = {source.name for source in sources if source.unique}
    for name, table in staged.items():
        order = table.sort()
        for code, source_name in enumerate(table.sources):
            if source_name in unique:
                own = np.flatnonzero(table.index["source"] == code)
                removals += cleaning.drop_duplicates(table, "own", own)
        for position, arrival in enumerate(order):
            if table.kept[position] and (reason := reasons[name][arrival]):
                removals.append(table.remove(position, reason))
    return read, removals


def _mix(table: Staged, weights: dict[str, float], **options: Any) -> int:
    """Keep the RL prompts of the training split that the mix chooses. Returns how many it leaves out."""
    training = np.flatnonzero(table.kept & (table.index["split"] == cleaning.TRAIN))
    if not len(training):
        return 0
    chosen = splits.mix(
        [table.ids[i] for i in training],
        [CATEGORIES[code] for code in table.index["category"][training]],
        weights=[weights[table.source(i)] for i in training],
        **options,
    )
    table.kept[training] = False
    table.kept[training[chosen]] = True
    return len(training) - len(chosen)


def _kept(table: Staged) -> Counter[str]:
    codes, counts = np.unique(table.index["source"][table.kept], return_counts=True)
    return Counter({table.sources[code]: int(count) for code, count in zip(codes, counts, strict=True)})


def _about(source: Source, root: Path, read: int, kept: int) -> dict[str, Any]:
    return {
        "name": source.name,
        "path": source.place,
        "role": source.role,
        "licence": source.licence,
        "sha256": source_sha256(source, root),
        "read": read,
        "kept": kept,
    }


def _write(
    out: Path,
    tables: dict[str, Iterable[Row]],
    removals: list[Removal],
    left_out: dict[str, int],
    about: list[dict[str, Any]],
) -> PreparationReport:
    counts: Counter[tuple[str, str, str, str]] = Counter()
    examples: dict[tuple[str, str], list[str]] = {}

    def counted(name: str, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            counts[name, row["split"], row["category"], row["source"]] += 1
            some = examples.setdefault((name, row["source"]), [])
            if len(some) < card.EXAMPLES:
                some.append(row["id"])
            yield row

    folder = out / "tables"
    folder.mkdir()
    for name, rows in tables.items():
        write_table(counted(name, rows), name, folder)
    keys = ("table", "split", "category", "source")
    report = PreparationReport(
        rows={name: sum(n for key, n in counts.items() if key[0] == name) for name in tables},
        counts=[dict(zip(keys, key, strict=True)) | {"rows": counts[key]} for key in sorted(counts)],
        removed=len(removals),
        reasons=dict(sorted(Counter(removal.reason for removal in removals).items())),
        left_out=dict(sorted(left_out.items())),
        sources=about,
        sha256=table_hash(folder),
    )
    removals.sort(key=lambda removal: (removal.table, removal.id, removal.reason))
    with (out / "removed.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(removal.record(), ensure_ascii=False) + "\n" for removal in removals)
    whole = card.build(asdict(report), removals, examples)
    for name, text in (
        ("report.json", json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n"),
        ("card.json", json.dumps(whole, indent=1, ensure_ascii=False) + "\n"),
        ("card.md", card.render(whole)),
    ):
        (out / name).write_text(text, encoding="utf-8", newline="\n")
    return report
