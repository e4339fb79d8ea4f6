"""Prepared tables as frames without texts, for validation.

Texts are replaced by digests, which keep what is checked of them (null, unique, equal); all else that is to
be checked becomes a column of its own, derived here in plain Python.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sear_core.data.dedup import canonical
from sear_core.data.staging import CONTENT
from sear_core.schema import CATEGORIES, TABLES

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Row = dict[str, Any]
Tables = Mapping[str, tuple[list[str], list[Row]]]  # table -> column names, rows
PLAIN = ("id", "category", "source", "slice", "split", "kind", "suite", "label")
ANSWERS = ("answer", "chosen", "rejected")
# what only the template may say: a text that holds one of these could forge a turn or end the reasoning
CONTROL_TOKEN = re.compile(
    r"<\s*/?\s*think\s*>|<\|[^|<>]{1,40}\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|(?-i:</?s>|<[be]os>)",
    re.IGNORECASE,
)
# control, zero-width, direction and tag characters; joiners (U+200C, U+200D) belong to scripts and emoji
HIDDEN = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff"
    "\U000e0000-\U000e007f]"
)
# UTF-8 that was once decoded as Latin-1 or Windows-1252
MOJIBAKE = re.compile("[\u00c2\u00c3][\u0080-\u00bf]|\u00e2\u20ac[\u0080-\u00bf\u2018-\u2122]")


def textless_frames(
    tables: Tables, vocabularies: Mapping[str, set[str]] | None = None, near: bool = False
) -> dict[str, pd.DataFrame]:
    """The textless frames: the tables' own columns, texts as digests, then the derived ones.

    A derived column is left out where a column it needs is missing: the expectation on the columns then fails,
    and says so. `vocabularies`: of an earlier version, per table (drift.py). `near`: look for near-duplicates of
    evaluation prompts too. `row` counts from 1.
    """
    import pandas as pd

    evaluation = {_key(row) for row in tables.get("evaluation", ([], []))[1]} - {""}
    held = {
        _key(row) for name, (_, rows) in tables.items() if name != "evaluation"
        for row in rows if row.get("split") == "validation"
    } - {""}  # fmt: skip
    categories = _several(
        (_key(row), row.get("category"))
        for _, rows in tables.values()
        for row in rows
        if row.get("prompt") and row.get("category") in CATEGORIES
    )
    like = _near_evaluation(tables, evaluation) if near else None
    frames = {}
    for name, (columns, rows) in tables.items():
        data: dict[str, list[Any]] = {
            column: [_shown(row[column]) if column in PLAIN else _digest(row[column]) for row in rows]
            for column in columns
        }
        data["row"] = list(range(1, len(rows) + 1))
        data["schema_faults"] = [schema_faults(row, TABLES[name]) for row in rows]
        if "prompt" in columns:
            keys = [_key(row) for row in rows]
            data |= _prompt_columns([str(row["prompt"] or "") for row in rows])
            data["category_contradicted"] = [key in categories for key in keys]
            if name != "evaluation":
                data["prompt_in_evaluation"] = [key in evaluation for key in keys]
                if like is not None:
                    data["prompt_nearly_in_evaluation"] = [key in like for key in keys]
                data["prompt_in_validation_too"] = [
                    row.get("split") == "train" and key in held for row, key in zip(rows, keys, strict=True)
                ]
            if vocabularies is not None and name in vocabularies:
                data["known_word_share"] = [_known(key, vocabularies[name]) for key in keys]
        data |= _content_columns(name, columns, rows)
        if "category" in columns:
            for category in CATEGORIES:
                data[f"is_{category}"] = [float(row["category"] == category) for row in rows]
        frames[name] = pd.DataFrame(data)
        frames[name].attrs["columns"] = list(columns)
    return frames


def schema_faults(row: Row, schema: pa.Schema) -> str:
    """Which columns are null or of another type than the schema's, in words; empty: none."""
    faults = []
    for column in schema:
        value = row.get(column.name, "")
        if column.name not in row:
            continue
        if value is None:
            faults.append(f"{column.name} is null")
        elif not _fits(value, column.type):
            faults.append(f"{column.name} is {type(value).__name__}")
    return ", ".join(faults)


def words(key: str) -> Iterable[str]:
    """The words of a canonical text as digests of 8 hex digits."""
    return (hashlib.blake2b(word.encode(), digest_size=4).hexdigest() for word in key.split())


def has_control_token(text: str) -> bool:
    """Whether a chat or reasoning token stands in a text, also in wide letters or with hidden characters in it."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return bool(CONTROL_TOKEN.search(plain))


def _near_evaluation(tables: Tables, evaluation: set[str]) -> set[str]:
    """The canonical training prompts that are near-duplicates of an evaluation prompt, but not equal to one."""
    from collections import Counter

    from sear_core.data.cleaning import count_words
    from sear_core.data.near import ReferenceIndex
    from sear_core.data.wording import words as parsed

    prompts: dict[str, str] = {}  # canonical -> as it stands
    counts: Counter[str] = Counter()
    for name, (_, rows) in tables.items():
        for row in rows:
            text = str(row.get("prompt") or "")
            count_words(counts, text)
            if name != "evaluation":
                prompts.setdefault(canonical(text), text)
    asked = [str(row.get("prompt") or "") for row in tables.get("evaluation", ([], []))[1]]
    index = ReferenceIndex(asked, counts)
    return {
        key
        for key, text in prompts.items()
        if key not in evaluation and index.match(parsed(text)) is not None
    }


def _prompt_columns(prompts: list[str]) -> dict[str, list[Any]]:
    return {
        "prompt_chars": [len(prompt.strip()) for prompt in prompts],
        "prompt_has_control_token": [has_control_token(prompt) for prompt in prompts],
        "prompt_has_hidden_character": [bool(HIDDEN.search(prompt)) for prompt in prompts],
        "prompt_is_garbled": ["\ufffd" in prompt or bool(MOJIBAKE.search(prompt)) for prompt in prompts],
    }


def _content_columns(name: str, columns: list[str], rows: list[Row]) -> dict[str, list[Any]]:
    """What is checked of answers, pairs and steps, and of the row as a whole."""
    data: dict[str, list[Any]] = {}
    content = ("prompt", *CONTENT[name])
    if set(content) <= set(columns):
        data["content"] = [_digest([_folded(row[column]) for column in content]) for row in rows]
    texts = [column for column in (*ANSWERS, "reasoning", "steps") if column in columns]
    if texts:
        data["answer_has_control_token"] = [
            any(has_control_token(text) for column in texts for text in _texts(row[column])) for row in rows
        ]
    answers = [column for column in ANSWERS if column in columns]
    if answers:
        for word, choose in (("shortest", min), ("longest", max)):
            data[f"{word}_answer_chars"] = [
                choose(len(str(row[a] or "").strip()) for a in answers) for row in rows
            ]
    if {"prompt", "chosen", "rejected"} <= set(columns):
        pairs = [tuple(_folded(row[column]) for column in ("prompt", "chosen", "rejected")) for row in rows]
        known = set(pairs)
        data["chosen_equals_rejected"] = [better == worse for _, better, worse in pairs]
        data["pair_stands_reversed_too"] = [
            better != worse and (prompt, worse, better) in known for prompt, better, worse in pairs
        ]
    if {"prompt", "answer", "label"} <= set(columns):
        both = [(_folded(row["prompt"]), _folded(row["answer"])) for row in rows]
        disputed = _several((key, row["label"]) for key, row in zip(both, rows, strict=True))
        data["label_contradicted"] = [key in disputed for key in both]
    if {"steps", "labels"} <= set(columns):
        data["label_per_step"] = [0 < len(_texts(row["steps"])) == len(row["labels"] or []) for row in rows]
        data["labels_in_unit_interval"] = [
            all(_is_number(label) and 0 <= label <= 1 for label in row["labels"] or []) for row in rows
        ]
        data["step_is_one_line"] = [
            all(step.strip() and "\n" not in step for step in _texts(row["steps"])) for row in rows
        ]
    return data


def _several(pairs: Iterable[tuple[Any, Any]]) -> set[Any]:
    """The keys that come with more than one value."""
    values: dict[Any, set[Any]] = defaultdict(set)
    for key, value in pairs:
        values[key].add(value)
    return {key for key, found in values.items() if len(found) > 1}


def _shown(value: Any) -> Any:
    """A value that the Data Docs may show: GX puts it into the page as it is."""
    return html.escape(value) if isinstance(value, str) else value


def _known(key: str, vocabulary: set[str]) -> float | None:
    own = list(words(key))
    return sum(word in vocabulary for word in own) / len(own) if own else None


def _fits(value: Any, kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_list(kind):
        return isinstance(value, list) and all(_fits(item, kind.value_type) for item in value)
    fits: Callable[[Any], bool] = (
        _is_number if pa.types.is_floating(kind) else lambda item: isinstance(item, str)
    )
    return fits(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # NaN is none


def _key(row: Row) -> str:
    return canonical(str(row.get("prompt") or ""))


def _texts(value: Any) -> list[str]:
    """The texts of a cell: a list's items, a text itself, nothing of a null."""
    return (
        [str(item) for item in value if item is not None] if isinstance(value, list) else [str(value or "")]
    )


def _folded(value: Any) -> str:
    return "\x1f".join(map(_folded, value)) if isinstance(value, list) else str(value).casefold().strip()


def _digest(value: Any) -> str | None:
    """16 hex digits in a text's (or a list's) place; null stays null."""
    return None if value is None else hashlib.sha256(repr(value).encode()).hexdigest()[:16]
