"""Source tables to schema rows: where a file lies, and how its columns become the schema's.

The way of a row: file -> record (readers.py, dialogues.py) -> `where` -> mapped, typed and normalised row.
Splits, duplicates and contamination are preparation.py's business, not this module's.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from sear_core.data.dedup import canonical, content_hash, normalise
from sear_core.data.dialogues import hh_dialogues, oasst_trees
from sear_core.data.readers import Numbered, Record, read_records
from sear_core.errors import InputError
from sear_core.schema import CATEGORIES, TABLES

READERS: dict[str, Callable[[Path], Iterator[Numbered]]] = {
    "rows": read_records,
    "oasst_trees": oasst_trees,
    "hh_dialogues": hh_dialogues,
}
SPLITS = ("train", "validation", "test")
# a row without these gets an empty text, a generated id, a split by hash
OPTIONAL = {"id", "source", "slice", "split", "reasoning", "kind", "prefill", "suite", "harmful_reasoning",
            "benign_reasoning", "affirmative"}  # fmt: skip
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_MISSING = object()


@dataclass(frozen=True)
class Source:
    """One source table and how its columns become schema columns (the config's twin is tasks' SourceConfig).

    A schema column comes from, in this order: `constants`, `templates`, `columns`, the column of its name.
    `values` then translates it. `unique` names schema columns in which no two rows may agree; of rows that
    agree the first by id is kept, and none where their labels differ. `group` names the schema column whose
    content decides the split.
    """

    name: str
    path: str  # relative to the data root
    role: str  # a table of the schema
    licence: str = "unknown"
    columns: Mapping[str, str] = field(default_factory=dict)  # schema column -> (dotted) source column
    constants: Mapping[str, Any] = field(default_factory=dict)  # schema column -> value
    templates: Mapping[str, str] = field(default_factory=dict)  # schema column -> text with {source column}
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # column -> {source: schema value}
    where: Mapping[str, list[Any]] = field(default_factory=dict)  # (dotted) source column -> values kept
    reader: str = "rows"
    limit: int | None = None  # rows kept, chosen by content hash
    split: str = "hash"  # train | validation | test | hash; a column's own, where `columns` names one
    unique: tuple[str, ...] = ()
    group: str = "prompt"


def resolve(root: Path, path: str, name: str = "") -> Path:
    """The file of a source, proven to lie inside the data root.

    Raises InputError: no such root or file, an absolute path, `..` or a symbolic link leading out, no file.
    """
    label = f"source {name!r}: " if name else ""
    root = Path(root)
    if not root.is_dir():
        raise InputError(
            f"{label}data.root = {str(root)!r}: no such directory; expected the folder of the sources"
        )
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise InputError(f"{label}path {path!r} leaves the data root; expected a path relative to {root}")
    full = root / path
    try:
        inside = full.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # a loop of links
        raise InputError(f"{full}: {label}cannot be read: {error}") from None
    if not inside:
        raise InputError(f"{full}: {label}a symbolic link leads out of the data root {root}")
    if not full.exists():
        if not any(root.iterdir()):
            raise InputError(f"{root}: {label}the data root is empty, expected {path!r} in it")
        siblings = [
            item.relative_to(root).as_posix() for item in sorted(full.parent.glob("*")) if item.is_file()
        ]
        raise InputError(f"{full}: {label}no such file{_nearest(path, siblings)}")
    if not full.is_file():
        raise InputError(f"{full}: {label}not a file")
    return full


def read_source(source: Source, root: Path) -> tuple[list[Record], dict[str, int]]:
    """The schema rows of a source, without splits decided by hash, and counts {read, where, limit}.

    Each row carries `_group`, the text whose hash decides its split. Raises InputError naming file and row.
    """
    _check(source)
    path = resolve(root, source.path, source.name)
    counts = {"read": 0, "where": 0, "limit": 0}
    rows: list[Record] = []
    numbers: dict[str, int] = {}
    for number, record in READERS[source.reader](path):
        counts["read"] += 1
        place = f"{path}: row {number}: source {source.name!r}"
        if not _kept(source.where, record, place):
            counts["where"] += 1
            continue
        row = _map(source, record, place)
        given = row["id"]
        if given:
            if given in numbers:
                raise InputError(f"{place}: id {given!r} was already used in row {numbers[given]}")
            numbers[given] = number
        rows.append(row)
    if not rows:
        raise InputError(f"{path}: source {source.name!r}: `where` keeps none of its {counts['read']} rows")
    content = [name for name in TABLES[source.role].names if name not in ("id", "split", "source")]
    for row in rows:
        row["id"] = f"{source.name}:{row['id'] or content_hash(*(row[name] for name in content))[:16]}"
        row["_group"] = canonical(str(row[source.group]))
    if source.limit is not None and len(rows) > source.limit:
        counts["limit"] = len(rows) - source.limit
        rows = sorted(rows, key=lambda row: (content_hash(row["prompt"]), row["id"]))[: source.limit]
    return rows, counts


def count_rows(root: Path, path: str) -> int:
    """How many records a source file has, before any `where`; all are read: malformed files show early."""
    return sum(1 for _ in read_records(resolve(root, path)))


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(source: Source) -> None:
    """That the mapping itself makes sense, before any row is read."""
    label = f"source {source.name!r}"
    if source.role not in TABLES:
        raise InputError(f"{label}: role {source.role!r}, expected one of {', '.join(TABLES)}")
    if source.reader not in READERS:
        raise InputError(f"{label}: reader {source.reader!r}, expected one of {', '.join(READERS)}")
    names = TABLES[source.role].names
    for option in ("columns", "constants", "templates", "values"):
        for column in getattr(source, option):
            if column not in names:
                raise InputError(
                    f"{label}: {option}.{column}: the table {source.role} has no such column"
                    f"{_nearest(column, names)}"
                )
    for column in (*source.unique, source.group):
        if column not in names:
            raise InputError(f"{label}: unique or group names {column!r}, no column of {source.role}")


def _map(source: Source, record: Record, place: str) -> Record:
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
        f"{_close(name, record)}; name one in `columns`, or a value in `constants`"
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
                f"{place}: no column {dotted!r} (for {wanted!r}){_nearest(part, map(str, known))}"
            )
    return value


def _kept(where: Mapping[str, list[Any]], record: Record, place: str) -> bool:
    for column, kept in where.items():
        value = _fetch(record, column, place, "where")
        if str(value) not in {str(item) for item in kept}:
            return False
    return True


def _translate(table: Mapping[str, Any], value: Any, name: str, place: str) -> Any:
    found = table.get(str(value), _MISSING)
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
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{place}: {name}: character {error.start} is half a surrogate pair") from None
    return text


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    return _close(name, known) or (f"; there is {', '.join(map(repr, known[:12]))}" if known else "")


def _close(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
