"""What the columns of a table that somebody brings probably are, by their names and values.

A guess is shown to the person and can be overruled; nothing is guessed of a text's content. What must be there
and cannot be guessed is an error that lists the columns.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from sear_core.data.mapping import OPTIONAL, close
from sear_core.data.readers import read_records
from sear_core.errors import InputError
from sear_core.schema import TABLES

# schema column -> names that it has in the field's sets, the likeliest first
NAMES: dict[str, tuple[str, ...]] = {
    "id": ("id", "uid", "prompt_id", "row_id", "key", "behaviorid"),
    "prompt": ("prompt", "question", "instruction", "query", "behavior", "goal", "prompt_text", "text", "input",
               "user", "request"),
    "category": ("category", "label", "type", "class", "safety", "kind"),
    "split": ("split", "partition"),
    "slice": ("slice", "subcategory", "topic", "hazard", "type", "category"),
    "reasoning": ("reasoning", "cot", "chain_of_thought", "thinking", "rationale", "thoughts"),
    "answer": ("answer", "response", "completion", "output", "reply"),
    "chosen": ("chosen", "preferred", "better", "accepted"),
    "rejected": ("rejected", "dispreferred", "worse"),
    "steps": ("steps", "reasoning_steps"),
    "labels": ("labels", "step_labels", "ratings"),
    "label": ("label", "harmful", "is_harmful", "unsafe", "is_unsafe", "toxic"),
    "suite": ("suite",),
}  # fmt: skip
CATEGORY_WORDS = {
    "harmful": "harmful", "unsafe": "harmful", "malicious": "harmful", "toxic": "harmful",
    "harmless": "harmless", "safe": "harmless", "benign": "harmless",
    "ambiguous": "ambiguous", "borderline": "ambiguous", "over_refusal": "ambiguous",
}  # fmt: skip
LABEL_WORDS = {
    "1": 1.0, "1.0": 1.0, "true": 1.0, "yes": 1.0, "harmful": 1.0, "unsafe": 1.0,
    "0": 0.0, "0.0": 0.0, "false": 0.0, "no": 0.0, "harmless": 0.0, "safe": 0.0,
}  # fmt: skip
SPLIT_WORDS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation",
               "val": "validation", "dev": "validation"}  # fmt: skip
TRANSLATIONS: dict[str, Mapping[str, Any]] = {
    "category": CATEGORY_WORDS, "label": LABEL_WORDS, "split": SPLIT_WORDS,
}  # fmt: skip
MANY = 50  # distinct values above which a column is no category


@dataclass
class Seen:
    """What a column of the file holds; no text of it."""

    kinds: set[str] = field(default_factory=set)
    values: set[str] = field(default_factory=set)  # at most MANY + 1 of them
    present: int = 0
    unique: bool = True
    _hashes: set[int] = field(default_factory=set)

    def add(self, value: Any) -> None:
        if value is None or value == "":
            return
        self.present += 1
        self.kinds.add(type(value).__name__)
        text = str(value)
        if len(self.values) <= MANY:
            self.values.add(text)
        if self.unique:
            self.unique = hash(text) not in self._hashes
            self._hashes.add(hash(text))


@dataclass(frozen=True)
class Guess:
    """A mapping as sources.Source takes it, and what is known of the file's columns."""

    columns: dict[str, str]
    constants: dict[str, Any]
    values: dict[str, dict[str, Any]]
    rows: int
    seen: dict[str, Seen]


def guess(
    path: Path,
    role: str,
    columns: Mapping[str, str] | None = None,
    constants: Mapping[str, Any] | None = None,
) -> Guess:
    """Which column of a file is which of the table `role`; what is given is taken as it is.

    Raises InputError: whatever readers.py raises, a given column that is not there, a needed one that cannot
    be guessed.
    """
    seen, rows = _look(path)
    found, fixed = dict(columns or {}), dict(constants or {})
    values: dict[str, dict[str, Any]] = {}
    for wanted, name in found.items():
        if name.split(".")[0] not in seen and name not in seen:
            raise InputError(
                f"{path}: no column {name!r} (for {wanted!r}){close(name, seen)}; it has {_list(seen)}"
            )
    taken = set(found.values())
    for column in sorted(TABLES[role], key=lambda field: field.name in OPTIONAL or field.name == "category"):
        name = column.name
        if name in ("source", "kind", "prefill") or name in fixed:
            continue
        if name not in found:
            for candidate in _candidates(name, seen):
                if candidate not in taken and _fits(name, role, column.type, seen[candidate], rows):
                    found[name] = candidate
                    taken.add(candidate)
                    break
        if name in found and found[name] in seen:
            values |= _translation(name, seen[found[name]])
        elif name not in found and name not in OPTIONAL:
            how = "--category" if name == "category" else f"--column {name}=COLUMN or --constant {name}=VALUE"
            raise InputError(
                f"{path}: which column is {name!r} cannot be guessed; it has {_list(seen)}"
                f"{_unfit(name, seen, taken)}; give {how}"
            )
    return Guess(found, fixed, values, rows, seen)


def guess_role(path: Path) -> str:
    """The table that a file's columns point to; prompts alone are RL prompts."""
    _, record = next(read_records(path))
    names = {_plain(name) for name in record}

    def has(*wanted: str) -> bool:
        return all(names & {_plain(name) for name in NAMES[column]} for column in wanted)

    if has("chosen", "rejected"):
        return "preferences"
    if has("steps", "labels"):
        return "step_labels"
    if has("answer", "label") and "reasoning" not in names:
        return "answer_labels"
    return "warm_start" if has("answer") else "rl_prompts"


def _look(path: Path) -> tuple[dict[str, Seen], int]:
    seen: dict[str, Seen] = {}
    rows = 0
    for _, record in read_records(path):
        rows += 1
        for name, value in record.items():
            seen.setdefault(name, Seen()).add(value)
    return seen, rows


def _candidates(column: str, seen: Mapping[str, Seen]) -> Iterator[str]:
    """The file's columns that may be this one, by name, the likeliest first."""
    plain = {_plain(name): name for name in reversed(list(seen))}
    for wanted in NAMES.get(column, (column,)):
        if _plain(wanted) in plain:
            yield plain[_plain(wanted)]


def _fits(column: str, role: str, kind: pa.DataType, seen: Seen, rows: int) -> bool:
    """Whether a column's values can be what is wanted."""
    if pa.types.is_list(kind):
        return seen.kinds == {"list"}
    if not seen.present or not seen.kinds <= {"str", "int", "float", "bool"}:
        return False
    words = {value.strip().lower() for value in seen.values}
    if column == "id":
        return seen.unique and seen.present == rows
    if column == "category":
        return words <= CATEGORY_WORDS.keys()
    if column == "label":
        return words <= LABEL_WORDS.keys()
    if column == "split":
        return role != "evaluation" and words <= SPLIT_WORDS.keys()
    if column in ("slice", "suite"):
        return len(seen.values) <= MANY
    return seen.kinds == {"str"}


def _unfit(column: str, seen: Mapping[str, Seen], taken: Collection[str]) -> str:
    """Why the column that its name points to is not taken, in words."""
    name = next((candidate for candidate in _candidates(column, seen) if candidate not in taken), None)
    if name is None:
        return ""
    found = seen[name]
    strange = sorted(value for value in found.values if value.strip().lower() not in CATEGORY_WORDS)
    if not found.present:
        why = "is empty in every row"
    elif column == "category" and strange and len(found.values) <= MANY:
        why = f"holds {strange[0][:40]!r}, which is none of {', '.join(CATEGORY_WORDS)}"
    else:
        why = f"holds {'/'.join(sorted(found.kinds))}" + (
            f", {found.present} filled" if found.present else ""
        )
    return f"; column {name!r} {why}"


def _translation(column: str, seen: Seen) -> dict[str, dict[str, Any]]:
    """How the values of a category, label or split column become the schema's; nothing where they are those."""
    known = TRANSLATIONS.get(column, {})
    if not known or len(seen.values) > MANY or not all(v.strip().lower() in known for v in seen.values):
        return {}
    table = {value: known[value.strip().lower()] for value in sorted(seen.values)}
    same = all(value == result if column != "label" else _number(value) for value, result in table.items())
    return {} if same else {column: table}


def _number(text: str) -> bool:
    return bool(re.fullmatch(r"[01](\.0)?", text))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip()).lower()


def _list(names: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, list(names)[:20]))
