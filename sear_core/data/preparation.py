"""Sources to prepared tables: a pure function of the source files, the arguments and this code.

The order of the steps is the order of `prepare`: read and map (sources.py) -> unusable rows and duplicates
out (cleaning.py) -> splits (splits.py) -> contamination out (cleaning.py) -> RL prompts mixed (splits.py) ->
template traces where there are none (template_rows.py) -> written, sorted by id.

`out` then holds `tables/<table>.parquet` (schema.py), `removed.jsonl` (each row taken out, and why),
`report.json` and `card.md`. Bytes depend on nothing else: not on the hash seed, the working directory, the
time zone or the locale.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sear_core.data import card, cleaning, splits
from sear_core.data.cleaning import Removal
from sear_core.data.sources import Source, file_sha256, read_source, resolve
from sear_core.errors import InputError
from sear_core.schema import TABLES, write_table

Row = dict[str, Any]


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
    template_traces: int = 0,
    rl_prompts: int | None = None,
    harmful_share: float | None = None,
    near_duplicates: bool = False,
) -> PreparationReport:
    """Read the sources under `root` and write the six tables below the existing, empty folder `out`.

    The caller gives a temporary folder and renames it. `template_traces` is a number of traces per RL prompt;
    `near_duplicates` extends the contamination control from equal prompts to nearly equal ones (dedup.py).
    Raises InputError: whatever sources.py raises, two sources of one name, a mix that is impossible.
    """
    names = [source.name for source in sources]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(f"data.sources: the name {repeated[0]!r} stands twice; names must differ")
    if not sources:
        raise InputError("data.sources: empty, expected at least one source")

    tables: dict[str, list[Row]] = {name: [] for name in TABLES}
    left_out: Counter[str] = Counter()
    removals: list[Removal] = []
    about: list[dict[str, Any]] = []
    for source in sorted(sources, key=lambda source: source.name):
        rows, counts = read_source(source, root)
        left_out.update({reason: counts[reason] for reason in ("where", "limit")})
        rows.sort(key=lambda row: row["id"])
        if source.unique:
            rows, gone = cleaning.drop_duplicates(rows, source.role, source.unique)
            removals += gone
        tables[source.role] += rows
        about.append(_about(source, root, counts["read"]))

    for name, rows in tables.items():
        rows.sort(key=lambda row: row["id"])
        rows, unusable = cleaning.drop_unusable(rows, name, max_prompt_chars, max_answer_chars)
        tables[name], duplicate = cleaning.drop_duplicates(rows, name)
        removals += unusable + duplicate
        splits.assign_splits(tables[name], name, validation_share)
    tables, contaminated = cleaning.drop_contaminated(tables, near_duplicates)
    tables, leaking = cleaning.drop_split_leaks(tables)
    removals += contaminated + leaking

    training = [row for row in tables["rl_prompts"] if row["split"] == "train"]
    if training and (rl_prompts is not None or harmful_share is not None):
        chosen = splits.mix(training, rl_prompts, harmful_share, seed)
        left_out["mix"] = len(training) - len(chosen)
        held_out = [row for row in tables["rl_prompts"] if row["split"] != "train"]
        tables["rl_prompts"] = held_out + chosen
    kept = Counter(row["source"] for rows in tables.values() for row in rows)
    about = [item | {"kept": kept[item["name"]]} for item in about]
    if template_traces:
        from sear_core.data.template_rows import add_template_traces

        add_template_traces(tables, template_traces, seed)
    return _write(out, tables, removals, dict(left_out), about)


def table_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of the tables in a folder, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.parquet")):
        digest.update(f"{path.name}\0{file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _about(source: Source, root: Path, read: int) -> dict[str, Any]:
    return {
        "name": source.name,
        "path": source.path,
        "role": source.role,
        "licence": source.licence,
        "sha256": file_sha256(resolve(root, source.path, source.name)),
        "read": read,
    }


def _write(
    out: Path,
    tables: dict[str, list[Row]],
    removals: list[Removal],
    left_out: dict[str, int],
    about: list[dict[str, Any]],
) -> PreparationReport:
    counts: Counter[tuple[str, str, str, str]] = Counter()
    folder = out / "tables"
    folder.mkdir()
    for name, rows in tables.items():
        rows.sort(key=lambda row: row["id"])
        columns = TABLES[name].names
        write_table([{column: row[column] for column in columns} for row in rows], name, folder)
        counts.update((name, row["split"], row["category"], row["source"]) for row in rows)
    keys = ("table", "split", "category", "source")
    report = PreparationReport(
        rows={name: len(rows) for name, rows in tables.items()},
        counts=[dict(zip(keys, key, strict=True)) | {"rows": counts[key]} for key in sorted(counts)],
        removed=len(removals),
        reasons=dict(sorted(Counter(removal.reason for removal in removals).items())),
        left_out=dict(sorted(left_out.items())),
        sources=about,
        sha256=table_hash(folder),
    )
    ordered = sorted(removals, key=lambda removal: (removal.table, removal.id, removal.reason))
    lines = [json.dumps(removal.record(), ensure_ascii=False) + "\n" for removal in ordered]
    (out / "removed.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
    text = json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n"
    (out / "report.json").write_text(text, encoding="utf-8", newline="\n")
    (out / "card.md").write_text(card.render(asdict(report)), encoding="utf-8", newline="\n")
    return report
