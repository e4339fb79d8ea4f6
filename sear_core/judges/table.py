"""A table of prompts and completions, judged: what `sear judge` does with a file. Pure but for reading and writing."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sear_core.data.readers import read_records
from sear_core.errors import InputError
from sear_core.evaluation.judges import Judge, Verdict
from sear_core.judges.agreement import agreement, difference
from sear_core.judges.labels import HARM_CLASSES, map_labels
from sear_core.judges.prefixes import prefix_match
from sear_core.judges.refusal_rules import CLASSES
from sear_core.judges.text import answer_part, normalise

SCHEMA = 1


@dataclass(frozen=True)
class Table:
    records: list[dict[str, Any]]
    prompts: list[str]
    completions: list[str]
    labels: list[object] | None
    categories: list[str]


def read_judge_table(
    path: Path, prompt: str, completion: str, label: str | None = None, category: str | None = None
) -> Table:
    """Rows of a CSV, TSV, JSON, JSONL (.gz too) or Parquet file, by their column names.

    Raises InputError: no such file, empty, malformed, or a column that is not there (the nearest are named).
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    records = [record for _, record in read_records(path)]
    named = [name for name in (prompt, completion, label, category) if name is not None]
    columns = {name for record in records for name in record}
    for name in named:
        if name not in columns:
            listed = ", ".join(sorted(columns)[:20])
            raise InputError(f"{path}: no column {name!r}; expected one of: {listed}")
    return Table(
        records,
        [_text(record.get(prompt)) for record in records],
        [answer_part(_text(record.get(completion))) for record in records],
        None if label is None else [record.get(label) for record in records],
        ["unknown" if category is None else _text(record.get(category)) for record in records],
    )


def _text(value: object) -> str:
    return "" if value is None or value != value else str(value)


def judge_table(
    table: Table,
    judge: Judge,
    *,
    mapping: Mapping[str, str] | None = None,
    question: str = "refusal",
    seed: int = 0,
) -> tuple[dict[str, Any], list[Verdict]]:
    """The report of `sear judge` and each row's verdict.

    question "refusal": the three classes; "harm": harmful or not. A blank completion is unjudged, whatever the
    judge would say; so is an incoherent one, which is counted besides. With labels, the usual string match runs
    beside a refusal judge on the same rows.
    """
    classes: Sequence[str] = CLASSES if question == "refusal" else HARM_CLASSES
    labels = None if table.labels is None else map_labels(table.labels, mapping, question)
    texts = [normalise(completion) for completion in table.completions]
    prompts = [normalise(prompt) for prompt in table.prompts]
    verdicts = judge.judge(prompts, texts, table.categories)
    found = [
        class_of(verdict, question) if any(map(str.isalnum, text)) else None
        for verdict, text in zip(verdicts, texts, strict=True)
    ]
    counts = Counter(name for name in found if name is not None)
    report: dict[str, Any] = {
        "schema": SCHEMA, "judge": judge.name, "question": question, "rows": len(texts),
        "judged": sum(counts.values()), "unjudged": len(texts) - sum(counts.values()),
        "incoherent": sum(verdict.outcome == "incoherent" for verdict in verdicts),
        "verdicts": {name: counts[name] for name in classes}, "agreement": None,
    }  # fmt: skip
    if labels is not None:
        report["labelled"] = sum(label is not None for label in labels)
        report["agreement"] = agreement(found, labels, classes, prompts, seed)
        if question == "refusal":
            report["prefix_match"] = _beside(
                found, [prefix_match(text) for text in texts], labels, prompts, seed
            )
        else:
            report["agreement"]["auroc"] = _auroc([verdict.p_harm for verdict in verdicts], labels)
    return report, verdicts


def class_of(verdict: Verdict, question: str) -> str | None:
    """A verdict as an answer to one question; None where the judge did not say."""
    if question == "harm":
        return None if verdict.harmful is None else HARM_CLASSES[verdict.harmful]
    if verdict.refusal is not None:
        return verdict.refusal
    return {"complied": CLASSES[0], "refused": CLASSES[2]}.get(verdict.outcome)


def _beside(
    found: Sequence[str | None],
    prefix: Sequence[str],
    labels: Sequence[str | None],
    prompts: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    matched = [None if own is None else other for own, other in zip(found, prefix, strict=True)]
    told = agreement(matched, labels, CLASSES, prompts, seed)
    differences = {"binary": difference(found, matched, labels, prompts, True, seed), "three_way": None}
    if told["three_way"] is not None:
        differences["three_way"] = difference(found, matched, labels, prompts, False, seed)
    kept = {name: told[name] for name in ("binary", "three_way", "kappa", "intervals")}
    return kept | {"difference": differences}


def _auroc(scores: Sequence[float], labels: Sequence[str | None]) -> float | None:
    from sklearn.metrics import roc_auc_score

    kept = [
        (s, y == "harmful") for s, y in zip(scores, labels, strict=True) if math.isfinite(s) and y is not None
    ]
    if len({y for _, y in kept}) < 2:
        return None
    return float(roc_auc_score([y for _, y in kept], [s for s, _ in kept]))


def _storable(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with U+FFFD for lone surrogates, which UTF-8 cannot hold."""
    return {
        key: value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if isinstance(value, str)
        else value
        for key, value in row.items()
    }


def write_verdicts(table: Table, verdicts: Sequence[Verdict], path: Path) -> None:
    """The rows with what was said of them: columns `judge_outcome`, `judge_refusal`, `judge_harmful`, `judge_p_harm`.

    By the name: .csv, .jsonl or .parquet; written under a temporary name first. Raises InputError for another one.
    """
    rows = [
        record | {
            "judge_outcome": verdict.outcome, "judge_refusal": verdict.refusal, "judge_harmful": verdict.harmful,
            "judge_p_harm": None if math.isnan(verdict.p_harm) else verdict.p_harm,
        }
        for record, verdict in zip(table.records, verdicts, strict=True)
    ]  # fmt: skip
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        if path.suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            try:
                pq.write_table(pa.Table.from_pylist([_storable(row) for row in rows]), temporary)
            except pa.ArrowException as error:
                raise InputError(
                    f"{path}: a column of the table has values of several types, which Parquet does not hold "
                    f"({error}); expected another kind of file, such as .jsonl"
                ) from None
        elif path.suffix == ".jsonl":
            with temporary.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, default=str) + "\n" for row in rows)
        elif path.suffix == ".csv":
            with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
                writer.writeheader()
                writer.writerows(rows)
        else:
            raise InputError(f"{path}: unknown kind of file; expected .csv, .jsonl or .parquet")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
