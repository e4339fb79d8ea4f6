"""Source tables to schema rows, one after the other: where they lie, and which of their rows are taken.

The way of a row: file or data set (readers.py, hub.py) -> record (dialogues.py) -> `where` -> mapped, typed and
normalised row (mapping.py) -> `limit`. Splits, duplicates and contamination are preparation.py's business.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sear_core.data import hub
from sear_core.data.dedup import canonical, content_hash, printable
from sear_core.data.dialogues import attack_artifacts, hh_dialogues, numbered_answers, oasst_trees
from sear_core.data.mapping import SPLITS, kept, map_row, nearest
from sear_core.data.readers import Numbered, Record, kind_of, read_records
from sear_core.errors import InputError
from sear_core.schema import TABLES

Reader = Callable[[Iterator[Numbered], str], Iterator[Numbered]]
READERS: dict[str, Reader] = {
    "rows": lambda records, path: records,
    "oasst_trees": oasst_trees,
    "hh_dialogues": hh_dialogues,
    "numbered_answers": numbered_answers,
    "attack_artifacts": attack_artifacts,
}


@dataclass(frozen=True)
class Source:
    """One source table and how its columns become schema columns (the config's twin is tasks' SourceConfig).

    It lies at `path` (a file, a folder of files, or a folder that `datasets` has saved), or on the Hugging Face
    hub under the name `hub`. A schema column comes from, in this order: `constants`, `templates`, `columns`,
    the column of its name. `values` then translates it ("*": whatever is not named). `unique` names schema
    columns in which no two rows may agree; of rows that agree the first by id is kept, and none where their
    labels differ. `group` names the schema column whose content decides the split.
    """

    name: str
    role: str  # a table of the schema
    path: str = ""  # relative to the data root
    hub: str = ""  # owner/name
    subset: str | None = None  # the data set's configuration on the hub
    part: str = (
        "train"  # its split, on the hub or in a saved folder: what rows are read, not what they are for
    )
    revision: str | None = None  # commit or tag on the hub; without one a run cannot be reproduced
    licence: str = "unknown"
    columns: Mapping[str, str] = field(default_factory=dict)  # schema column -> (dotted) source column
    constants: Mapping[str, Any] = field(default_factory=dict)  # schema column -> value
    templates: Mapping[str, str] = field(default_factory=dict)  # schema column -> text with {source column}
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # column -> {source: schema value}
    where: Mapping[str, list[Any]] = field(default_factory=dict)  # (dotted) source column -> values kept
    reader: str = "rows"
    limit: int | None = None  # rows kept, chosen by content hash
    weight: float = 1.0  # of its rows' chance to be chosen, where RL prompts are mixed
    split: str = "hash"  # train | validation | test | hash; a column's own, where `columns` names one
    unique: tuple[str, ...] = ()
    group: str = "prompt"

    @property
    def place(self) -> str:
        """Path or hub name, as data cards and errors have it."""
        if not self.hub:
            return self.path
        return f"hub:{self.hub}" + "".join(f"/{part}" for part in (self.subset, self.part) if part) + (
            f"@{self.revision}" if self.revision else ""
        )  # fmt: skip


def resolve(root: Path, path: str, name: str = "") -> Path:
    """The file or folder of a source, proven to lie inside the data root.

    Raises InputError: no such root, file or folder, an absolute path, `..` or a symbolic link leading out.
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
    _check_inside(full, root, label)
    if not full.exists():
        if not any(root.iterdir()):
            raise InputError(f"{root}: {label}the data root is empty, expected {path!r} in it")
        siblings = [
            item.relative_to(root).as_posix() for item in sorted(full.parent.glob("*")) if item.is_file()
        ]
        raise InputError(f"{full}: {label}no such file{nearest(path, siblings)}")
    if not full.is_file() and not full.is_dir():
        raise InputError(f"{full}: {label}not a file")
    return full


def _check_inside(full: Path, root: Path, label: str) -> None:
    try:
        inside = full.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # a loop of links
        raise InputError(f"{full}: {label}cannot be read: {error}") from None
    if not inside:
        raise InputError(f"{full}: {label}a symbolic link leads out of the data root {root}")


def source_files(root: Path, paths: Iterable[str], name: str = "") -> dict[str, Path]:
    """The files behind paths under the root, by relative path, sorted: a folder stands for all files in it.

    Raises InputError: as `resolve`; a folder without a file of rows; a link in it that leads out of the root.
    """
    files: dict[str, Path] = {}
    for path in sorted(set(paths)):
        full = resolve(root, path, name)
        if full.is_file():
            files[path] = full
            continue
        below = [item for item in sorted(full.rglob("*")) if item.is_file() and item.name[0] != "."]
        if not hub.saved(full):
            below = [item for item in below if kind_of(item)]
        if not below:
            raise InputError(
                f"{full}: not a file, and a folder without any of .csv, .tsv, .json, .jsonl, .parquet"
            )
        for item in below:
            _check_inside(item, Path(root), f"source {name!r}: " if name else "")
            files[item.relative_to(root).as_posix()] = item
    return dict(sorted(files.items()))


def stream_source(source: Source, root: Path, counts: Counter[str] | None = None) -> Iterator[Record]:
    """The schema rows of a source, in its order; `counts` gains read, where and limit (rows).

    Each row carries `_group`, the text whose hash decides its split, and an empty split where that is to be.
    With a `limit` the source is read twice: once for the content hashes that are low enough, once for the
    rows. Raises InputError naming file and row.
    """
    _check(source)
    counts = Counter() if counts is None else counts
    if source.limit is None:
        yield from _rows(source, root, counts)
        return
    least: list[tuple[int, str]] = []  # of the largest first: a heap of the keys that are kept so far
    total = 0
    for row in _rows(source, root, counts):
        total += 1
        key = _limit_key(row)
        if len(least) < source.limit:
            heapq.heappush(least, key)
        elif key > least[0]:
            heapq.heapreplace(least, key)
    counts["limit"] += total - len(least)
    if not least:
        return
    bound = least[0]
    equal = least.count(bound)  # rows without ids of their own may equal each other
    for row in _rows(source, root, Counter()):
        key = _limit_key(row)
        equal -= key == bound
        if key > bound or (key == bound and equal >= 0):
            yield row


def _limit_key(row: Record) -> tuple[int, str]:
    """Larger for a smaller content hash of the prompt, then id: heapq keeps the largest."""
    number = int(content_hash(row["prompt"]), 16)
    return -number, "".join(chr(0x10FFFF - ord(letter)) for letter in row["id"])


def read_source(source: Source, root: Path) -> tuple[list[Record], dict[str, int]]:
    """All rows of `stream_source`, and its counts."""
    counts: Counter[str] = Counter({"read": 0, "where": 0, "limit": 0})
    return list(stream_source(source, root, counts)), dict(counts)


def _records(source: Source, root: Path) -> Iterator[tuple[str, int, Record]]:
    """(file or data set, number, record): what the source's reader makes of what lies there."""
    reader = READERS[source.reader]
    pieces: Iterable[tuple[str, Iterator[Numbered]]]
    if source.hub:
        pieces = [(source.place, hub.hub_records(source.hub, source.subset, source.part, source.revision))]
    else:
        files = source_files(root, [source.path], source.name)
        folder = resolve(root, source.path, source.name)
        if hub.saved(folder):
            pieces = [(str(folder), hub.saved_records(folder, source.part))]
        else:
            pieces = (
                (str(file), read_records(file, single=source.reader == "attack_artifacts"))
                for file in files.values()
            )
    for place, records in pieces:
        for number, record in reader(records, place):
            yield place, number, record


def _rows(source: Source, root: Path, counts: Counter[str]) -> Iterator[Record]:
    content = [name for name in TABLES[source.role].names if name not in ("id", "split", "source")]
    given: set[int] = set()  # hashes: the index of a source is to be small
    any_kept = False
    for file, number, record in _records(source, root):
        counts["read"] += 1
        place = f"{file}: row {number}: source {source.name!r}"
        if not kept(source.where, record, place):
            counts["where"] += 1
            continue
        row = map_row(source, record, place)
        if own := printable(row["id"]):
            mark = int(content_hash(own)[:15], 16)
            if mark in given:
                raise InputError(
                    f"{place}: id {own!r} was already used in row {_first_use(source, root, own)}"
                )
            given.add(mark)
        row["id"] = f"{source.name}:{own or content_hash(*(row[name] for name in content))[:16]}"
        row["_group"] = canonical(str(row[source.group]))
        any_kept = True
        yield row
    if not any_kept:
        raise InputError(
            f"{source.place}: source {source.name!r}: `where` keeps none of its {counts['read']} rows"
        )


def _first_use(source: Source, root: Path, own: str) -> int:
    for file, number, record in _records(source, root):
        place = f"{file}: row {number}: source {source.name!r}"
        if kept(source.where, record, place) and printable(map_row(source, record, place)["id"]) == own:
            return number
    raise AssertionError("an id that was read twice is read again")


def count_rows(root: Path, path: str) -> int:
    """How many records a path has, before any `where`; all are read: malformed files show early."""
    folder = resolve(root, path)
    if hub.saved(folder):
        return hub.saved_rows(folder)
    files = source_files(root, [path]).values()
    return sum(1 for file in files for _ in read_records(file, single=True))


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_sha256(source: Source, root: Path) -> str:
    """Of its file; of a folder's files by name; of a hub data set's identity, since its rows are elsewhere."""
    if source.hub:
        return content_hash(source.place)
    files = source_files(root, [source.path], source.name)
    if list(files) == [source.path]:
        return file_sha256(files[source.path])
    return content_hash(*(f"{name}\0{file_sha256(file)}" for name, file in files.items()))


def _check(source: Source) -> None:
    """That the mapping itself makes sense, before any row is read."""
    label = f"source {source.name!r}"
    if bool(source.path) == bool(source.hub):
        raise InputError(f"{label}: path {source.path!r} and hub {source.hub!r}, expected one of the two")
    if source.role not in TABLES:
        raise InputError(f"{label}: role {source.role!r}, expected one of {', '.join(TABLES)}")
    if source.reader not in READERS:
        raise InputError(f"{label}: reader {source.reader!r}, expected one of {', '.join(READERS)}")
    if source.split not in (*SPLITS, "hash"):
        raise InputError(f"{label}: split {source.split!r}, expected one of {', '.join(SPLITS)}, hash")
    names = TABLES[source.role].names
    for option in ("columns", "constants", "templates", "values"):
        for column in getattr(source, option):
            if column not in names:
                raise InputError(
                    f"{label}: {option}.{column}: the table {source.role} has no such column"
                    f"{nearest(column, names)}"
                )
    for column in (*source.unique, source.group):
        if column not in names:
            raise InputError(f"{label}: unique or group names {column!r}, no column of {source.role}")
