"""Where the two players' segments lie: reasoning steps z_1 … z_K, then `</think>` and the answer.

The tags are ordinary text for most tokenizers (several tokens, merging with a newline), so segments are found
by character offsets in the decoded text; sampled ids are never re-tokenised. Every token that overlaps
`</think>` belongs to the answer player. Source: our choice (a reconstruction of SEAR, arXiv 2606.31748).

Legend: T tokens of one completion; a player is a step index k >= 0, ANSWER or PADDING.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sear_core.chat_format import THINK_CLOSE, THINK_OPEN

ANSWER = -1
PADDING = -2

_LINE = re.compile(r"[^\n]*\n+|[^\n]+$")
_SENTENCE = re.compile(r".+?(?:[.!?]+(?:\s+|$)|$)", re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One reasoning step: its stripped text, and the half-open range of characters that it covers."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Completion:
    """A completion taken apart; `answer` is empty, `close` None where the block is not closed just once."""

    reasoning: str
    answer: str
    close: int | None  # character offset of `</think>` in the text
    ended: bool  # by the end-of-sequence token, not by the length limit
    well_formed: bool


def split_steps(reasoning: str, max_steps: int) -> list[Step]:
    """The steps of a reasoning: its lines, or its sentences where it is a single line.

    Steps cover the reasoning without gaps (blank characters belong to the step before them, leading ones to
    the first). Beyond `max_steps` (K) the rest merges into the last step. A blank reasoning has no steps.
    Raises ValueError where max_steps < 1.
    """
    if max_steps < 1:
        raise ValueError(f"max_steps = {max_steps}, expected at least 1")
    pattern = _LINE if "\n" in reasoning.strip() else _SENTENCE
    starts = [m.start() for m in pattern.finditer(reasoning) if m.group().strip()][:max_steps]
    if not starts:
        return []
    starts[0] = 0
    ends = [*starts[1:], len(reasoning)]
    return [Step(reasoning[start:end].strip(), start, end) for start, end in zip(starts, ends, strict=True)]


def parse_completion(text: str, ended: bool) -> Completion:
    """Take apart what follows the forced `<think>` newline (and a prefill, which may stand in front of it).

    text: without the end-of-sequence token; ended: whether that token was there. Well formed means: the think
    block is closed exactly once, none is opened again, the answer has a letter or digit and no undecodable
    character, and the completion ended by itself.
    """
    closes = text.count(THINK_CLOSE)
    if closes != 1:
        reasoning = text.split(THINK_CLOSE, 1)[0]
        return Completion(reasoning, "", None, ended, False)
    close = text.index(THINK_CLOSE)
    answer = text[close + len(THINK_CLOSE) :].strip()
    coherent = any(c.isalnum() for c in answer) and "\ufffd" not in answer
    return Completion(text[:close], answer, close, ended, ended and coherent and THINK_OPEN not in text)


def first_tokens(tokenizer: Any, ids: Sequence[int], text: str, offsets: Sequence[int]) -> list[int]:
    """For each character offset, the index of the first token reaching beyond it (len(ids) where none does).

    text: the ids decoded (`decode_ids`). Two ways, both over the sampled ids: the tokens' byte lengths
    (byte-level BPE, all of the text valid UTF-8), else a bisection over decoded prefixes.
    """
    ends = _byte_level_ends(tokenizer, ids, text)
    if ends is not None:
        return [bisect_right(ends, offset) for offset in offsets]
    ids = list(ids)
    # in a text without one, those at a prefix' end are bytes: of characters that are not whole there, or (byte fallback
    # decodes a run of byte tokens as one) before such a character
    whole = "\ufffd" not in text

    def reach(token: int) -> int:
        """How many characters have begun when the token ends."""
        prefix = decode_ids(tokenizer, ids[: token + 1])
        sure = len(prefix.rstrip("\ufffd")) if whole else len(prefix)
        return sure + _begun(text[sure:].encode()[: len(prefix) - sure])

    return [bisect_right(range(len(ids)), offset, key=reach) for offset in offsets]


def decode_ids(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of ids, nothing skipped and nothing cleaned up, so that character offsets hold."""
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def token_players(
    tokenizer: Any, ids: Sequence[int], text: str, completion: Completion, steps: list[Step], prefill: str
) -> list[int]:
    """The player of each of the T tokens of one completion, its end-of-sequence token included.

    text: the sampled text alone, without the end-of-sequence token; completion and steps: those of
    prefill + text. A malformed completion is the answer player's as a whole, so that never answering is paid
    for by the tokens that did it.
    """
    players = [ANSWER] * len(ids)
    if not completion.well_formed or not steps:
        return players
    assert completion.close is not None
    # offsets into the sampled text; steps that lie in the prefill are left empty by max(0, …)
    bounds = [max(0, step.start - len(prefill)) for step in steps] + [completion.close - len(prefill)]
    firsts = first_tokens(tokenizer, ids, text, bounds)
    firsts[0] = 0
    for k, (first, last) in enumerate(pairwise(firsts)):
        # A token across two steps is the later one's, but never taken from the answer player.
        players[first:last] = [k] * (last - first)
    return players


def _byte_level_ends(tokenizer: Any, ids: Sequence[int], text: str) -> list[int] | None:
    """Per token, how many characters of the text have begun when it ends; None where bytes do not tell."""
    if not _is_byte_level(tokenizer):
        return None
    added = tokenizer.added_tokens_decoder
    pieces = [
        added[i].content.encode() if i in added else _bytes_of(token)
        for i, token in zip(ids, tokenizer.convert_ids_to_tokens(list(ids)), strict=True)
    ]
    data = b"".join(piece for piece in pieces if piece is not None)
    # The text may lack the end-of-sequence token, never anything else: otherwise do not believe the bytes.
    if None in pieces or not data.startswith(text.encode()) or "\ufffd" in text:
        return None
    ends, characters = [], 0
    for piece in pieces:
        characters += _begun(piece or b"")
        ends.append(characters)
    return ends


def _begun(data: bytes) -> int:
    """How many characters begin in these bytes of UTF-8: its lead bytes."""
    return sum((byte & 0xC0) != 0x80 for byte in data)


def _is_byte_level(tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return type(getattr(backend, "decoder", None)).__name__ == "ByteLevel" or "ByteLevel" in str(
        getattr(backend, "decoder", "")
    )


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + n): b for n, b in enumerate(rest)}


_BYTES = _byte_alphabet()


def _bytes_of(token: str | None) -> bytes | None:
    if token is None or any(c not in _BYTES for c in token):
        return None
    return bytes(_BYTES[c] for c in token)
