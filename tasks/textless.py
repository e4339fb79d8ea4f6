"""Prepared tables as frames without texts, for validation.

Texts are replaced by digests, which keep what is checked of them (null, unique, equal); all else that is to
be checked becomes a column of its own, derived here in plain Python.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sear_core.data.dedup import canonical
from sear_core.schema import CATEGORIES

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
PLAIN = ("id", "category", "source", "slice", "split", "kind", "suite", "label")
ANSWERS = ("answer", "chosen", "rejected")
# what only the template may say: a prompt that holds one of these could forge a turn or end the reasoning
CONTROL_TOKEN = re.compile(r"</?think>|<\|[^|<>]{1,40}\|>", re.IGNORECASE)


def textless_frames(tables: Mapping[str, tuple[list[str], list[Row]]]) -> dict[str, pd.DataFrame]:
    """The textless frames: the tables' own columns, texts as digests, then the derived ones.

    Takes {table: (column names, rows)}. A derived column is left out where a column it needs is missing: the
    expectation on the columns then fails, and says so.
    """
    import pandas as pd

    evaluation = {_key(row) for row in tables["evaluation"][1]}
    held = {
        _key(row)
        for name, (_, rows) in tables.items()
        for row in rows
        if name != "evaluation" and row.get("split") == "validation"
    }
    frames = {}
    for name, (columns, rows) in tables.items():
        data: dict[str, list[Any]] = {
            column: [row[column] if column in PLAIN else _digest(row[column]) for row in rows]
            for column in columns
        }
        if "prompt" in columns:
            keys = [_key(row) for row in rows]
            data["prompt_chars"] = [len(row["prompt"] or "") for row in rows]
            data["prompt_has_control_token"] = [
                bool(CONTROL_TOKEN.search(row["prompt"] or "")) for row in rows
            ]
            if name != "evaluation":
                data["prompt_in_evaluation"] = [key in evaluation for key in keys]
                data["prompt_in_validation_too"] = [
                    row.get("split") == "train" and key in held for row, key in zip(rows, keys, strict=True)
                ]
        answers = [column for column in ANSWERS if column in columns]
        if answers:
            data["shortest_answer_chars"] = [min(len(row[a] or "") for a in answers) for row in rows]
        if {"chosen", "rejected"} <= set(columns):
            data["chosen_equals_rejected"] = [row["chosen"] == row["rejected"] for row in rows]
        if {"steps", "labels"} <= set(columns):
            data["label_per_step"] = [0 < len(row["steps"] or []) == len(row["labels"] or []) for row in rows]
            data["labels_in_unit_interval"] = [
                all(label is not None and 0 <= label <= 1 for label in row["labels"] or []) for row in rows
            ]
        if "category" in columns:
            for category in CATEGORIES:
                data[f"is_{category}"] = [float(row["category"] == category) for row in rows]
        frames[name] = pd.DataFrame(data)
        frames[name].attrs["columns"] = list(columns)
    return frames


def _key(row: Row) -> str:
    return canonical(row.get("prompt") or "")


def _digest(value: Any) -> str | None:
    """16 hex digits in a text's (or a list's) place; null stays null."""
    return None if value is None else hashlib.sha256(repr(value).encode()).hexdigest()[:16]
