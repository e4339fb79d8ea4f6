"""What makes two prompts the same: normal form, canonical key, content hash, near duplicates.

Pure functions of text: the same on every machine, whatever the hash seed or locale.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

NEAR_DUPLICATE_JACCARD = 0.8  # our choice
SHINGLE = 5  # characters
PERMUTATIONS = 64

_INNER_SPACE = re.compile(r"[^\S\n]+")
_SPACED_NEWLINE = re.compile(r" ?\n ?")
_BLANK_LINES = re.compile(r"\n{3,}")
_NOT_WORD = re.compile(r"[\W_]+")


def normalise(text: str) -> str:
    """NFC; runs of blanks become one; newlines stay, at most one blank line at a time; ends trimmed."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _SPACED_NEWLINE.sub("\n", _INNER_SPACE.sub(" ", text))
    return _BLANK_LINES.sub("\n\n", text).strip()


def canonical(text: str) -> str:
    """The key under which two prompts count as the same: NFKC, casefolded, without punctuation.

    A prompt that is punctuation alone keeps it: it must not equal every other such prompt.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _NOT_WORD.sub(" ", folded).strip() or folded.strip()


def content_hash(*parts: object) -> str:
    """SHA-256 (64 hex digits) of the parts, unambiguously joined."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


def unit(digest: str) -> float:
    """A content hash as a number in [0, 1): what decides splits."""
    return int(digest[:13], 16) / 16**13


def shingles(text: str) -> set[str]:
    """The character 5-grams of a canonical text (the text itself where it is shorter)."""
    return {text[i : i + SHINGLE] for i in range(max(1, len(text) - SHINGLE + 1))}


def jaccard(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b)


def near_duplicates(
    candidates: Iterable[str], references: Sequence[str], threshold: float = NEAR_DUPLICATE_JACCARD
) -> dict[str, int]:
    """Which candidates are nearly a reference: {candidate: index of the nearest reference}.

    Texts are canonical ones. MinHash LSH (datasketch) proposes at a threshold well below the wanted one,
    since its recall at its own threshold is about a half; the exact Jaccard index of the shingles decides.
    """
    from datasketch import MinHash, MinHashLSH

    def sketch(grams: set[str]) -> MinHash:
        signature = blank.copy()
        signature.update_batch([gram.encode() for gram in sorted(grams)])
        return signature

    blank = MinHash(num_perm=PERMUTATIONS, seed=1)
    index = MinHashLSH(threshold=threshold - 0.25, num_perm=PERMUTATIONS)
    grams = [shingles(text) for text in references]
    for position, reference in enumerate(grams):
        index.insert(position, sketch(reference))
    found: dict[str, int] = {}
    for text in candidates:
        own = shingles(text)
        proposed = sorted(index.query(sketch(own)))
        scored = [(jaccard(own, grams[position]), -position) for position in proposed]
        if scored and max(scored)[0] >= threshold:
            found[text] = -max(scored)[1]
    return found
