"""A source record to a row of the schema: columns named, translated, typed and normalised."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sear_core.data.dedup import normalise
from sear_core.data.readers import Record
from sear_core.errors import InputError
from sear_core.schema import CATEGORIES, TABLES

if TYPE_CHECKING:
    from sear_core.data.sources import Source

SPLITS = ("train", "validation", "test")
# a row without these gets an empty text, a generated id, a split by hash
OPTIONAL = {"id", "source", "slice", "split", "reasoning", "kind", "prefill", "suite", "harmful_reasoning",
            "benign_reasoning", "affirmative", "reference"}  # fmt: skip
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_MISSING = object()


def map_row(source: Source, record: Record, place: str) -> Record:
    row: Record = {}
    for column in TABLES[source.role]:
        name = column.name
        if name == "source":
            row[name] = source.name
            continue
        value = _value(source, name, record, place)
        if name in source.values:
            value = _translate(source.values[name], value, name, place)
        row[name] = _typed(value, column.type, name, place)
    if row["category"] not in CATEGORIES:
        raise InputError(f"{place}: category {row['category']!r}, expected one of {', '.join(CATEGORIES)}")
    if row["split"] and row["split"] not in SPLITS:
        raise InputError(f"{place}: split {row['split']!r}, expected one of {', '.join(SPLITS)}")
    return row


def _value(source: Source, name: str, record: Record, place: str) -> Any:
    if name == "split" and name not in source.columns:
        return "" if source.split == "hash" else source.split
    if name in source.constants:
        return source.constants[name]
    if name in source.templates:
        return _PLACEHOLDER.sub(
            lambda match: str(_fetch(record, match[1], place, name)), source.templates[name]
        ).strip()
    if name in source.columns:
        return _fetch(record, source.columns[name], place, name)
    if name in record:
        return record[name]
    if name in OPTIONAL:
        return ""
    raise InputError(
        f"{place}: no column for {name!r} of the table {source.role}; it has {', '.join(map(repr, record))}"
        f"{close(name, record)}; name one in `columns`, or a value in `constants`"
    )


def _fetch(record: Any, dotted: str, place: str, wanted: str) -> Any:
    """A value by column name, or by a dotted path through records and lists (`instances.0.output`)."""
    if isinstance(record, dict) and dotted in record:
        return record[dotted]
    value = record
    for part in dotted.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            known = list(value) if isinstance(value, dict) else []
            raise InputError(
                f"{place}: no column {dotted!r} (for {wanted!r}){nearest(part, map(str, known))}"
            )
    return value


def kept(where: Mapping[str, list[Any]], record: Record, place: str) -> bool:
    for column, kept in where.items():
        value = _fetch(record, column, place, "where")
        if str(value) not in {str(item) for item in kept}:
            return False
    return True


def _translate(table: Mapping[str, Any], value: Any, name: str, place: str) -> Any:
    found = table.get(str(value), table.get("*", _MISSING))
    if found is _MISSING:
        raise InputError(f"{place}: {name} {str(value)[:40]!r}, expected one of {', '.join(table)}")
    return found


def _typed(value: Any, kind: pa.DataType, name: str, place: str) -> Any:
    """The value in the schema's type: texts normalised, numbers as floats, lists item by item."""
    if pa.types.is_list(kind):
        if not isinstance(value, list):
            raise InputError(f"{place}: {name}: a {type(value).__name__}, expected a list")
        return [_typed(item, kind.value_type, name, place) for item in value]
    if pa.types.is_floating(kind):
        try:
            return float(value)
        except (TypeError, ValueError):
            raise InputError(f"{place}: {name} {str(value)[:40]!r}, expected a number") from None
    if value is None:
        if name in OPTIONAL:
            return ""
        raise InputError(f"{place}: {name} is null, expected a text")
    if isinstance(value, (dict, list)):
        raise InputError(f"{place}: {name}: a {type(value).__name__}, expected a text")
    text = normalise(str(value))
    if name == "prefill" and text and str(value).rstrip(" \t").endswith(("\n", "\r")):
        text += "\n"  # what is written next begins a line of its own
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{place}: {name}: character {error.start} is half a surrogate pair") from None
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    return close(name, known) or (f"; there is {', '.join(map(repr, known[:12]))}" if known else "")


def close(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
