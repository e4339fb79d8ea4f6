"""Text made fit for judging: bounded, printable, without chat tokens, cut into sentences. Our choice throughout.

A judge reads the text after the last `</think>`; the whole where that tag is missing (TARS, arXiv 2507.00971 §4).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from sear_core.chat_format import THINK_CLOSE

MAX_CHARS = 20_000  # of a longer answer the head and the tail are read, so that time is bounded
_HEAD = 16_000
_CURLY = str.maketrans({"’": "'", "‘": "'", "´": "'", "`": "'", "“": '"', "”": '"', "\xa0": " "})
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ufeff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CHAT_TOKEN = re.compile(
    r"<\|[\w -]{1,40}\|>|</?s>|</?(?:bos|eos|pad|unk)>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>",
    re.IGNORECASE,
)
_BOUNDARY = re.compile(
    r"(?<=[^\W\d][.!?])[\"')\]*_]*\s+|(?<=[\"')\]*][.!?])\s+(?=[A-Z])"
    r"|(?<=[^\s\d]\d[.!?])\s+(?=[A-Z])|(?<=\d{4}[.!?])\s+(?=[A-Z])|\s*\n\s*"  # not behind the number of a list's item
)
_ITEM = re.compile(r"^(?:[-*•–]|\d{1,2}[.)]|\*\*\d{1,2}[.)]|step \d{1,2}\b)\s*", re.IGNORECASE)
_QUOTED = re.compile(r'"[^"\n]{0,400}"')


def answer_part(completion: str) -> str:
    """What follows the last `</think>`; everything where there is none."""
    return completion.rpartition(THINK_CLOSE)[2]


def bounded(text: str) -> str:
    """At most MAX_CHARS of the text: its head and its tail."""
    return text if len(text) <= MAX_CHARS else f"{text[:_HEAD]}\n{text[_HEAD - MAX_CHARS :]}"


def normalise(text: str) -> str:
    """Bounded, with straight quotes, and without control characters, lone surrogates and chat tokens."""
    text = _SURROGATE.sub("\ufffd", bounded(text))
    return _CHAT_TOKEN.sub(" ", _UNPRINTABLE.sub(" ", text.translate(_CURLY))).strip()


def sentences(text: str) -> Iterator[str]:
    """The sentences and lines of a normalised text, in order, none of them blank."""
    return (part for part in (piece.strip() for piece in _BOUNDARY.split(text)) if part)


def inside(text: str) -> str:
    """The texts within a JSON object or list, a line each, where the whole is one; else the text itself."""
    if not (text.startswith(("{", "[")) and text.endswith(("}", "]"))):
        return text
    try:
        return "\n".join(_leaves(json.loads(text)))
    except (ValueError, RecursionError):
        return text


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)


def is_item(sentence: str) -> bool:
    """Is it an entry of a list, or a step?"""
    return _ITEM.match(sentence) is not None


def unquoted(text: str) -> str:
    """What stands in double quotes is somebody else's: as many blanks `_q` in its place, unless all is quoted."""
    inner = text[1:-1]
    if text[:1] == '"' == text[-1:] and '"' not in inner:
        return inner
    return _QUOTED.sub(lambda quotation: " ".join(["_q"] * len(quotation[0].split())), text)
