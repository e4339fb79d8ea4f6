"""Where near-duplicates are looked for, so that not every pair of prompts has to be compared.

Against evaluation prompts (few, in memory): an inverted index of each one's rarest content words. Whatever is to
count as its near-duplicate has at most some of its words misspelt, so it holds at least one of the rarest (prefix
filtering, Bayardo et al. 2007: nothing is missed). Within a table (many rows): equal skeletons; skeletons one
letter apart, found by the hashes of all their one-letter deletions (SymSpell's idea), 8 bytes each, in rounds; and
for longer prompts MinHash bands (datasketch). likeness.py decides on what is proposed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from sear_core.data.likeness import TYPO_PER, disguised, near_duplicate
from sear_core.data.wording import Words, words

ROUNDS = 16  # of the join: memory against time
CHUNK = 1 << 20  # characters hashed at a time
NEIGHBOURS = 4  # of rows with one hash, each is compared with so many next ones
SHORT = 200  # characters of a skeleton: longer ones are for MinHash alone
WORDY = 8  # content words from which MinHash sees enough shingles
BANDS, BAND_ROWS = 8, 8  # proposes half of the pairs at a Jaccard index of .77, .8 at .84


class ReferenceIndex:
    """Evaluation prompts, to be asked which of them a prompt nearly is."""

    def __init__(self, texts: Sequence[str], prompts: Mapping[str, int]) -> None:
        """`prompts`: in how many prompts of the corpus a word occurs."""
        self._words = [words(text) for text in texts]
        self._prompts = prompts
        self._equal: dict[str, list[int]] = {}
        self._rare: dict[str, list[int]] = {}
        self._slips: dict[str, list[int]] = {}
        self._by_length: dict[int, list[str]] = {}
        for number, reference in enumerate(self._words):
            self._equal.setdefault(reference.letters, []).append(number)
            self._equal.setdefault("=" + reference.skeleton, []).append(number)
            broken = _breakable(reference)
            rarest = sorted(reference.kinds, key=lambda word: (prompts.get(word, 0), word))
            for word in rarest[: broken + 1]:
                self._rare.setdefault(word, []).append(number)
            if len(reference.kinds) <= broken:  # all of its words may be misspelt
                for key in _deletions(reference.skeleton):
                    self._slips.setdefault(key, []).append(number)
        for word in sorted(self._rare):
            self._by_length.setdefault(len(word), []).append(word)
        self._meant = lru_cache(maxsize=1 << 12)(self._find_meant)

    def match(self, prompt: Words) -> int | None:
        """The first reference of which the prompt is a near-duplicate."""
        proposed: set[int] = set(self._equal.get(prompt.letters, ()))
        proposed.update(self._equal.get("=" + prompt.skeleton, ()))
        for word in prompt.kinds:
            for meant in self._meant(word):
                proposed.update(self._rare[meant])
        if len(prompt.kinds) <= 4:
            for key in _deletions(prompt.skeleton):
                proposed.update(self._slips.get(key, ()))
        return next(
            (n for n in sorted(proposed) if near_duplicate(prompt, self._words[n], self._prompts)), None
        )

    def _find_meant(self, word: str) -> tuple[str, ...]:
        """The index's words that a word stands for: itself, and those that it is with signs for letters."""
        own = (word,) if word in self._rare else ()
        if word.isascii() and word.isalpha():
            return own
        return own + tuple(w for w in self._by_length.get(len(word), ()) if w != word and disguised(word, w))


def _breakable(reference: Words) -> int:
    """How many of a prompt's words a near-duplicate may spell otherwise: misspellings, and two run together."""
    return 2 + len(reference.content) // TYPO_PER


def _deletions(text: str) -> set[str]:
    return {text, *(text[:i] + text[i + 1 :] for i in range(len(text)))} if len(text) <= SHORT else {text}


class TableIndex:
    """The prompts of a table as skeletons, about 60 bytes each (130 where long), to find pairs that may be near.

    Rows are added in their order; rows of different `group` (a hash of what else makes a row what it is) are
    never proposed.
    """

    def __init__(self) -> None:
        self._text = bytearray()
        self._ends, self._groups = array("q"), array("Q")
        self._banded, self._bands = array("q"), array("Q")

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, prompt: Words, group: int) -> None:
        self._text += prompt.skeleton.encode()[:SHORT]
        self._ends.append(len(self._text))
        self._groups.append(group)
        if len(prompt.content) >= WORDY:
            self._banded.append(len(self._ends) - 1)
            self._bands.extend(_bands(prompt.content, group).tolist())

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Pairs (i, j), i < j, of rows that may be near-duplicates; each once a way in which it is found."""
        ends = np.array(self._ends, dtype=np.int64)
        groups = np.array(self._groups, dtype=np.uint64)
        text = np.frombuffer(bytes(self._text), dtype=np.uint8)
        for turn in range(ROUNDS):
            yield from _equal_pairs(*_slip_keys(text, ends, groups, turn))
        banded = np.array(self._banded, dtype=np.int64)
        bands = np.array(self._bands, dtype=np.uint64).reshape(-1, BANDS)
        for band in range(BANDS):
            yield from _equal_pairs(bands[:, band] ^ np.uint64(band), banded)


def _bands(content: Sequence[str], group: int) -> np.ndarray:
    """Hashes (BANDS,) of the bands of the MinHash signature of a prompt's content words and pairs of them."""
    sketch = _blank().copy()
    sketch.update_batch([*map(str.encode, content), *(f"{a} {b}".encode() for a, b in pairwise(content))])
    values = sketch.hashvalues.astype(np.uint64).reshape(BANDS, BAND_ROWS)
    powers = _FACTOR ** np.arange(1, BAND_ROWS + 1, dtype=np.uint64)
    return _mix((values * powers).sum(axis=1, dtype=np.uint64) + np.uint64(group))


@lru_cache(maxsize=1)
def _blank() -> Any:
    from datasketch import MinHash

    return MinHash(num_perm=BANDS * BAND_ROWS, seed=1)


_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd: it has an inverse modulo 2^64
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 2**64))
_VALUES = np.random.default_rng(1).integers(1, 2**63, 256, dtype=np.uint64)
_DIGITS = np.zeros(256, dtype=bool)
_DIGITS[ord("0") : ord("9") + 1] = True


def _mix(keys: np.ndarray) -> np.ndarray:
    """SplitMix64's last step: every bit of the result hangs on every bit."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def _slip_keys(
    text: np.ndarray, ends: np.ndarray, groups: np.ndarray, turn: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of every row's text and of it with any one letter deleted (a digit never is), and the rows they are of.

    Only hashes of this turn (modulo ROUNDS). A text's hash is Σ value(c_i) · F^i modulo 2^64, so that all of its
    deletions come from two cumulative sums; equal hashes of different texts are met by likeness.py.
    """
    keys, rows = [], []
    begins = np.concatenate([[0], ends[:-1]])
    first = 0
    while first < len(ends):
        last = max(first + 1, int(np.searchsorted(ends, begins[first] + CHUNK, side="right")))
        start, stop = begins[first], ends[last - 1]
        piece = text[start:stop]
        powers, inverses = _powers(len(piece) + 1)
        sums = np.concatenate(
            [[np.uint64(0)], np.cumsum(_VALUES[piece] * powers[: len(piece)], dtype=np.uint64)]
        )
        row = np.repeat(np.arange(first, last), ends[first:last] - begins[first:last])
        begin, end = (begins[row] - start), (ends[row] - start)
        at = np.arange(len(piece))
        scale = inverses[begin]
        before = (sums[at] - sums[begin]) * scale
        behind = (sums[end] - sums[at + 1]) * scale * _INVERSE
        deleted = _mix(before + behind + groups[row])
        chosen = (deleted % ROUNDS == turn) & ~_DIGITS[piece]
        own = np.arange(first, last)
        b, e = begins[own] - start, ends[own] - start
        whole = _mix((sums[e] - sums[b]) * inverses[b] + groups[own])
        mine = whole % ROUNDS == turn
        keys += [deleted[chosen], whole[mine]]
        rows += [row[chosen].astype(np.int64), own[mine].astype(np.int64)]
        first = last
    if not keys:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    return np.concatenate(keys), np.concatenate(rows)


def _powers(length: int) -> tuple[np.ndarray, np.ndarray]:
    ones = np.ones(length, dtype=np.uint64)
    factors, inverses = ones * _FACTOR, ones * _INVERSE
    factors[0] = inverses[0] = 1
    return np.cumprod(factors, dtype=np.uint64), np.cumprod(inverses, dtype=np.uint64)


def _equal_pairs(keys: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of rows with equal keys, each row with at most NEIGHBOURS next ones."""
    order = np.lexsort((rows, keys))
    keys, rows = keys[order], rows[order]
    found: set[tuple[int, int]] = set()
    for step in range(1, NEIGHBOURS + 1):
        same = (keys[step:] == keys[:-step]) & (rows[step:] != rows[:-step])
        found.update(zip(rows[:-step][same].tolist(), rows[step:][same].tolist(), strict=True))
    yield from sorted(found)
