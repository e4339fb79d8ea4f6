"""What makes two prompts the same: normal form, canonical key, content hash. Near-duplicates: likeness.py.

Pure functions of text: the same on every machine, whatever the hash seed or locale.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

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


def printable(text: str) -> str:
    """A name on one line, with whatever a terminal or a page might obey written out: \\n, \\x1b, \\u202e."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
