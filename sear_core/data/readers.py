"""Files to records: CSV, TSV, JSON, JSONL and Parquet, each also gzipped but Parquet, row by row.

`read_records(path)` yields (line or row number, record). Rows are streamed, but for JSON, which is one value.
Every fault of a file is an InputError that names the file and the line, row or byte.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sear_core.errors import InputError

Record = dict[str, Any]
Numbered = tuple[int, Record]


def read_records(path: Path) -> Iterator[Numbered]:
    """The records of a file, each with its number: the line (text), or the row, both from 1.

    Raises InputError: unknown kind of file, empty, unreadable, malformed, not UTF-8, not a Parquet file.
    """
    kind = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    reader = {
        "csv": lambda: _delimited(path, ","),
        "tsv": lambda: _delimited(path, "\t"),
        "json": lambda: _json(path),
        "jsonl": lambda: _json_lines(path),
        "parquet": lambda: _parquet(path),
    }.get(kind)
    if reader is None:
        raise InputError(
            f"{path}: unknown kind of file; expected .csv, .tsv, .json, .jsonl (or .gz) or .parquet"
        )
    empty = True
    try:
        for numbered in reader():
            empty = False
            yield numbered
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if empty:
        raise InputError(f"{path}: empty, expected at least one row")


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file, with or without a byte-order mark."""
    offset = 0
    with _open(path) as file:
        for number, raw in enumerate(file, start=1):
            if number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise InputError(f"{path}: UTF-16 (byte-order mark at byte 0), expected UTF-8")
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path}: line {number}: byte {offset + error.start} (0x{raw[error.start]:02x}) is not "
                    f"UTF-8; expected a UTF-8 file"
                ) from None
            offset += len(raw)
            yield line.removeprefix("\ufeff") if number == 1 else line


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
        if not isinstance(record, dict):
            raise InputError(f"{path}: line {number}: a {type(record).__name__}, expected a JSON object")
        yield number, record


def _json(path: Path) -> Iterator[Numbered]:
    text = "".join(_lines(path))
    if not text.strip():
        return
    try:
        records = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {error.lineno}: not JSON: {error.msg}") from None
    if not isinstance(records, list):
        raise InputError(f"{path}: a {type(records).__name__}, expected a JSON list of objects")
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise InputError(f"{path}: row {number}: a {type(record).__name__}, expected a JSON object")
        yield number, record


def _parquet(path: Path) -> Iterator[Numbered]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.stat().st_size == 0:
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
