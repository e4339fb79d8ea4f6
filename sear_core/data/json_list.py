"""The objects of a JSON list, one at a time: the file is never held whole, nor decoded whole."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sear_core.errors import InputError

_CHUNK = 2**20  # bytes read at a time


def json_list(
    path: Path, file: IO[bytes], longest: int, single: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, object) of every row of the list in an open file; `longest`: of a row, in characters.

    With `single` the file may also be one object. Raises InputError naming `path` and the line or row: not a
    list of objects, malformed, not UTF-8, too long.
    """
    window = _Window(path, file, longest)
    first = window.peek()
    if not first:
        return
    if single and first == "{":
        yield 1, window.value()
        return
    if first != "[":
        kind = "dict" if first == "{" else "value"
        raise InputError(f"{path}: line {window.line}: a {kind}, expected a JSON list of objects")
    window.at += 1
    number = 0
    while (mark := window.peek()) != "]":
        if number:
            if mark != ",":
                raise InputError(f"{path}: line {window.line}: not JSON: expected ',' or ']' after a row")
            window.at += 1
        number += 1
        record = window.value()
        if not isinstance(record, dict):
            raise InputError(f"{path}: row {number}: a {type(record).__name__}, expected a JSON object")
        yield number, record
    window.at += 1
    if window.peek():
        raise InputError(f"{path}: line {window.line}: not JSON: more text after the list")


class _Window:
    """A piece of a UTF-8 file from which JSON values are decoded; it grows to `longest` and a little."""

    def __init__(self, path: Path, file: IO[bytes], longest: int) -> None:
        self.path, self.longest, self.line, self.at, self.text = path, longest, 1, 0, ""
        self._pieces = self._read(file)

    def _read(self, file: IO[bytes]) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        offset, newlines = 0, 0
        while raw := file.read(_CHUNK):
            held = len(decoder.getstate()[0])  # bytes of a character that the last piece broke off
            try:
                yield decoder.decode(raw)
            except UnicodeDecodeError as error:
                at = max(error.start - held, 0)
                line = 1 + newlines + raw.count(b"\n", 0, at)
                raise InputError(
                    f"{self.path}: line {line}: byte {offset + at} is not UTF-8; expected a UTF-8 file"
                ) from None
            offset += len(raw)
            newlines += raw.count(b"\n")

    def _grow(self) -> bool:
        """Append as much again as there is (at least a chunk); False at the end of the file."""
        self.text, self.at = self.text[self.at :], 0
        wanted, pieces = max(len(self.text), 1), []
        while wanted > 0 and (piece := next(self._pieces, "")):
            pieces.append(piece)
            wanted -= len(piece)
        self.text += "".join(pieces)
        return bool(pieces)

    def peek(self) -> str:
        """The next character that is no blank, or an empty string at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
                self.line += self.text[self.at] == "\n"
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._grow():
                return ""

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self.text, self.at)
            except RecursionError:
                raise InputError(f"{self.path}: line {self.line}: nested too deeply") from None
            except json.JSONDecodeError as error:
                if len(self.text) - self.at > self.longest:
                    raise InputError(
                        f"{self.path}: line {self.line}: no whole row within {self.longest >> 20} MiB: {error.msg}"
                    ) from None
                line = self.line + self.text.count("\n", self.at, error.pos)
                if not self._grow():
                    raise InputError(f"{self.path}: line {line}: not JSON: {error.msg}") from None
                continue
            except ValueError as error:  # a number of thousands of digits
                raise InputError(f"{self.path}: line {self.line}: not usable JSON: {error}") from None
            if end == len(self.text) and not isinstance(value, (dict, list, str)) and self._grow():
                continue  # a number may go on
            self.line += self.text.count("\n", self.at, end)
            self.at = end
            return value
