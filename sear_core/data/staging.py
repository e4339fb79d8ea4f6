"""A table on its way: the rows lie in a temporary file, and memory holds an index of them alone.

Per row the index has its id, its place in the file and 60 bytes of hashes and codes: what the steps of the
preparation decide on. Steps mark rows as gone; nothing is written twice.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from sear_core.data.dedup import canonical
from sear_core.schema import CATEGORIES

Row = dict[str, Any]
SPLITS = ("train", "validation", "test")

# the texts beside the prompt that make a row what it is
CONTENT: dict[str, tuple[str, ...]] = {
    "rl_prompts": (),
    "evaluation": (),
    "warm_start": ("reasoning", "answer", "slice"),  # a repeat on purpose stands under a slice of its own
    "step_labels": ("steps",),
    "answer_labels": ("answer",),
    "preferences": ("chosen", "rejected"),
}


@dataclass(frozen=True, slots=True)
class Removal:
    """A row that was taken out, and why; `matched` is the id of the row that it equals."""

    id: str
    table: str
    source: str
    reason: str
    matched: str = ""

    def record(self) -> dict[str, str]:
        return asdict(self)


class Staged:
    """The rows of one table. Positions are those of arrival until `sort`, then by id."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.ids: list[str] = []
        self.sources: list[str] = []  # by source code
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._offset = 0
        self._codes: dict[str, array[Any]] = {
            "place": array("Q"), "source": array("H"), "category": array("B"), "split": array("B"),
            "verdict": array("Q"), "key": array("Q"), "own": array("Q"), "prompt": array("Q"), "rest": array("Q"),
        }  # fmt: skip
        self.index: dict[str, np.ndarray] = {}
        self.kept: np.ndarray = np.zeros(0, dtype=bool)

    def __len__(self) -> int:
        return len(self.ids)

    def append(self, row: Row, unique: Iterable[str] = ()) -> int:
        """Take a row with its split (of SPLITS) decided. `unique`: columns that tell rows of its source apart.

        Returns a hash of the prompt's canonical form.
        """
        if not self.sources or self.sources[-1] != row["source"]:
            self.sources.append(row["source"])
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        prompt = _hash(canonical(row["prompt"]))
        codes = {
            "place": self._offset,
            "source": len(self.sources) - 1,
            "category": CATEGORIES.index(row["category"]),
            "split": SPLITS.index(row["split"]),
            "verdict": _hash(row["category"], repr(row.get("label"))),
            "key": _hash(*(_folded(row[column]) for column in ("prompt", *CONTENT[self.name]))),
            "own": _hash(*(_folded(row[column]) for column in unique)),
            "prompt": prompt,
            "rest": _hash(row["category"], *(_folded(row[column]) for column in CONTENT[self.name])),
        }
        for name, value in codes.items():
            self._codes[name].append(value)
        self.ids.append(row["id"])
        self._file.write(line)
        self._offset += len(line)
        return prompt

    def sort(self) -> np.ndarray:
        """No more rows come: order them by id, then by arrival. Returns the arrival of each (from 0)."""
        order = sorted(range(len(self.ids)), key=self.ids.__getitem__)
        self.ids = [self.ids[i] for i in order]
        positions = np.array(order, dtype=np.int64)
        self.index = {name: np.array(codes)[positions] for name, codes in self._codes.items()}
        self._codes = {}
        self.kept = np.ones(len(order), dtype=bool)
        self._file.flush()
        return positions

    def row(self, position: int | np.integer) -> Row:
        self._file.seek(int(self.index["place"][position]))
        return json.loads(self._file.readline())

    def rows(self) -> Iterator[Row]:
        """The rows that are kept, by id."""
        for position in np.flatnonzero(self.kept):
            yield self.row(int(position))

    def source(self, position: int | np.integer) -> str:
        return self.sources[int(self.index["source"][position])]

    def remove(self, position: int | np.integer, reason: str, matched: str = "") -> Removal:
        self.kept[position] = False
        return Removal(self.ids[position], self.name, self.source(position), reason, matched)

    def close(self) -> None:
        self._file.close()


def _hash(*parts: str) -> int:
    """64 bits of SHA-256, the same on every machine."""
    return int.from_bytes(hashlib.sha256("\x1f".join(parts).encode()).digest()[:8], "little")


def _folded(value: Any) -> str:
    return "\x1e".join(map(_folded, value)) if isinstance(value, list) else str(value).casefold()
