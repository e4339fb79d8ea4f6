"""Files to records: CSV, TSV, JSON, JSONL and Parquet, each also gzipped, row by row.

`read_records(path)` yields (line or row number, record). No file is held whole: a line, a record of a JSON
list, or a batch of Parquet rows at a time, and none of them may be longer than `MAX_RECORD`. Every fault of a
file is an InputError that names the file and the line, row or byte. datasets' own formats: hub.py.
"""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sear_core.data.json_list import json_list
from sear_core.errors import InputError

Record = dict[str, Any]
Numbered = tuple[int, Record]

KINDS = ("csv", "tsv", "json", "jsonl", "parquet")
EXPECTED = "expected .csv, .tsv, .json, .jsonl or .parquet, each also with .gz"
MAX_RECORD = 16 * 2**20  # bytes of a line or record; our choice: a prompt or dialogue is far below it
_HEAD = 262  # bytes: a tar archive says so at the end of them
# first bytes of what a file may be instead of what its name says
_MAGIC = {
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "a zip archive",
    b"PAR1": "a Parquet file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\x00": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstandard file",
    b"7z\xbc\xaf": "a 7z archive",
    b"ARROW1": "an Arrow file",
    b"\xff\xfe\x00\x00": "UTF-32 text (byte-order mark at byte 0)",
    b"\x00\x00\xfe\xff": "UTF-32 text (byte-order mark at byte 0)",
    b"\xff\xfe": "UTF-16 text (byte-order mark at byte 0)",
    b"\xfe\xff": "UTF-16 text (byte-order mark at byte 0)",
    b"%PDF": "a PDF",
    b"\x7fELF": "a program",
}


def kind_of(path: Path) -> str:
    """csv, tsv, json, jsonl or parquet by the name, `.gz` taken off; else an empty string."""
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    return kind if kind in KINDS else ""


def read_records(path: Path, single: bool = False) -> Iterator[Numbered]:
    """The records of a file, each with its number: the line (text), or the row, both from 1.

    A JSON file is a list of objects; with `single` it may also be one object, the only record.

    Raises InputError: unknown kind of file, empty, unreadable, malformed, not UTF-8, not what its name says,
    a line or record longer than MAX_RECORD.
    """
    kind = kind_of(path)
    if not kind:
        raise InputError(f"{path}: unknown kind of file; {EXPECTED}")
    empty = True
    try:
        _check_magic(path, kind)
        reader = {"csv": _csv, "tsv": _tsv, "jsonl": _json_lines, "parquet": _parquet}.get(kind)
        for numbered in reader(path) if reader else _json(path, single):
            empty = False
            yield numbered
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if empty:
        raise InputError(f"{path}: empty, expected at least one row")


def _zipped(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if _zipped(path) else path.open("rb")  # type: ignore[return-value]


def _check_magic(path: Path, kind: str) -> None:
    """That the first bytes are not those of another kind of file than the name says."""
    with path.open("rb") as file:
        start = file.read(_HEAD)
    if _zipped(path) and start:
        if not start.startswith(b"\x1f\x8b"):
            raise InputError(f"{path}: cannot be read: {_looks(start) or 'no gzip file'}, expected gzip")
        with gzip.open(path, "rb") as file:
            start = file.read(_HEAD)
    if start and kind == "parquet" and not start.startswith(b"PAR1"):
        raise InputError(
            f"{path}: not a whole Parquet file: {_looks(start) or 'it does not begin with PAR1'}"
        )
    if kind != "parquet" and (found := _looks(start)):
        raise InputError(f"{path}: {found}, expected {kind.upper()} in UTF-8")


def _looks(start: bytes) -> str:
    if start[257:262] == b"ustar":
        return "a tar archive"
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), "")


def _lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file, with or without a byte-order mark."""
    offset = 0
    with _open(path) as file:
        number = 0
        while raw := file.readline(MAX_RECORD + 1):
            number += 1
            if len(raw) > MAX_RECORD:
                raise InputError(
                    f"{path}: line {number}: longer than {MAX_RECORD >> 20} MiB, expected one row a line"
                )
            if b"\0" in raw:
                at = offset + raw.index(b"\0")
                raise InputError(f"{path}: line {number}: byte {at} is NUL: not a text file")
            yield _decode(path, raw, number, offset).removeprefix("\ufeff" if number == 1 else "")
            offset += len(raw)


def _decode(path: Path, raw: bytes, number: int, offset: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: line {number}: byte {offset + error.start} (0x{raw[error.start]:02x}) is not "
            f"UTF-8; expected a UTF-8 file"
        ) from None


def _csv(path: Path) -> Iterator[Numbered]:
    return _delimited(path, ",")


def _tsv(path: Path) -> Iterator[Numbered]:
    return _delimited(path, "\t")


def _delimited(path: Path, delimiter: str) -> Iterator[Numbered]:
    reader = csv.reader(_lines(path), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    start = 1
    try:
        for fields in reader:
            line, start = start, reader.line_num + 1  # a quoted field may span lines
            if not fields:
                continue
            if header is None:
                header = fields
                repeated = sorted({name for name in fields if fields.count(name) > 1})
                if repeated:
                    raise InputError(
                        f"{path}: line {line}: column {repeated[0]!r} stands twice in the header"
                    )
                continue
            if len(fields) != len(header):
                raise InputError(
                    f"{path}: line {line}: {len(fields)} fields, expected {len(header)} as in the header"
                )
            yield line, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: line {max(start, 1)}: malformed: {error}") from None


def _json_lines(path: Path) -> Iterator[Numbered]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}: line {number}: not JSON at column {error.colno}: {error.msg}"
            ) from None
        except RecursionError:
            raise InputError(f"{path}: line {number}: nested too deeply") from None
        except ValueError as error:  # a number of thousands of digits
            raise InputError(f"{path}: line {number}: not usable JSON: {error}") from None
        if not isinstance(record, dict):
            raise InputError(f"{path}: line {number}: a {type(record).__name__}, expected a JSON object")
        yield number, record


def _json(path: Path, single: bool) -> Iterator[Numbered]:
    with _open(path) as file:
        yield from json_list(path, file, MAX_RECORD, single)


def _parquet(path: Path) -> Iterator[Numbered]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.stat().st_size == 0:
        return
    if _zipped(path):  # a Parquet file is read from its end
        with tempfile.NamedTemporaryFile(suffix=".parquet") as whole:
            with gzip.open(path, "rb") as packed:
                shutil.copyfileobj(packed, whole)
            whole.flush()
            try:
                yield from _parquet(Path(whole.name))
            except InputError as error:
                raise InputError(str(error).replace(whole.name, str(path))) from None
        return
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        place = f"after row {number}: " if number else ""
        raise InputError(f"{path}: {place}not a whole Parquet file: {reason}") from None
