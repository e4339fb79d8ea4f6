"""A prompt as words that can be compared: folded, spelt out, told apart into content and what is said by the way."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from sear_core.data.word_lists import DROPPED, FILLER, HOMOGLYPHS, LIGHT, PHRASES, POLITE, SPELT

_APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼʹ´`＇", "'"))
_MARKS = re.compile(r"[\u0300-\u036f\u0489]")
_FORMAT = re.compile(r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
                     r"\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]")  # fmt: skip
# a character of a script without spaces, a word, or the end of a clause
_PIECE = re.compile(
    r"(?P<sign>[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])"
    r"|(?P<word>'?[^\W_\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+(?:'[^\W_]+)*'?)"
    r"|(?P<end>[.,;:!?\n()\[\]{}…。、，；：！？—–]|\s-\s)"
)
# a symbol that is no punctuation, among letters, stands for one of them
_SYMBOLS = re.compile(
    r"(?<=[^\W\d_])[\u00a2-\u00a9\u00ae\u20a0-\u20cf\u2100-\u214f\u2190-\u2bff](?=[^\W\d_])"
)
UNKNOWN = "\u02a0"  # a letter that no prompt has
_SIGNS = re.compile(r"(?<=[a-z])[@$]|[@$](?=[a-z])")
_CLITIC = re.compile(r"'(?:s|re|ve|ll|d|m|t)?$")


class Words(NamedTuple):
    """A prompt as it is compared. Positions are those of `tokens`."""

    tokens: tuple[str, ...]  # all words, folded
    clauses: frozenset[int]  # positions at which a clause begins
    sentences: frozenset[int]  # of them, those behind more than a comma
    content: tuple[str, ...]  # the words that say what is asked
    places: tuple[int, ...]  # their positions
    fillers: frozenset[str]
    kinds: frozenset[str]  # the different words of the content
    odd: frozenset[str]  # words with other signs among their letters

    @property
    def skeleton(self) -> str:
        return "".join(self.content)


def fold(text: str) -> str:
    """NFKC, look-alike letters as Latin ones, no invisible characters, no accents, casefolded."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", _FORMAT.sub("", text).translate(_APOSTROPHES))
    text = unicodedata.normalize("NFD", text.translate(HOMOGLYPHS))
    text = unicodedata.normalize("NFC", _MARKS.sub("", text)).casefold()
    return _SYMBOLS.sub(UNKNOWN, text)


def words(text: str) -> Words:
    """The words of a prompt. Where all of them are light or filler, they are its content."""
    tokens: list[str] = []
    clauses, sentences = {0}, {0}
    for piece in _PIECE.finditer(_plain(text)):
        if piece.lastgroup == "end":
            clauses.add(len(tokens))
            if piece.group() not in ",、，()[]{}":
                sentences.add(len(tokens))
            continue
        if piece.group() in POLITE:
            clauses.add(len(tokens))
        tokens += _spelt_out(piece.group())
    return sorted_out(tokens, frozenset(clauses), frozenset(sentences))


def sorted_out(tokens: Sequence[str], clauses: frozenset[int], sentences: frozenset[int]) -> Words:
    """The words of a prompt from its tokens: which of them are content, filler, odd."""
    places = [i for i, token in enumerate(tokens) if token not in DROPPED]
    if not places:
        places = list(range(len(tokens)))
    content = tuple(tokens[i] for i in places)
    odd = frozenset(t for t in tokens if not (t.isascii() and t.isalpha()) and not t.isdigit())
    fillers = frozenset(tokens) & FILLER
    return Words(tuple(tokens), clauses, sentences, content, tuple(places), fillers, frozenset(content), odd)


def _plain(text: str) -> str:
    """Folded, without by-the-way phrases, unless nothing else is left."""
    folded = fold(text)
    if "@" in folded or "$" in folded:
        folded = _SIGNS.sub(lambda sign: {"@": "a", "$": "s"}[sign.group()], folded)
    plain = PHRASES.sub(" ", folded)
    return plain if any(map(str.isalnum, plain)) else folded


def _spelt_out(word: str) -> list[str]:
    """A word without its contraction: don't -> do not, what's -> what."""
    if len(word) > 2 and word[0] == word[-1] == "'":  # quoted
        word = word[1:-1]
    if word in SPELT:
        return SPELT[word]
    if "'" in word:
        if word.endswith("n't"):
            return [word[:-3], "not"]
        if (meant := _shortened(word)) is not None:
            return [meant]
        word = _CLITIC.sub("", word).replace("'", "")
    return [word] if word else []


@lru_cache(maxsize=1 << 10)
def _shortened(word: str) -> str | None:
    """The light word for whose letters an apostrophe stands (c'n: can), if there is one."""
    start, _, end = word.partition("'")
    if word.count("'") != 1 or (_CLITIC.search(word) and start and end):
        return None
    fitting = [w for w in LIGHT if w.startswith(start) and w.endswith(end) and len(w) >= len(word)]
    return min(fitting, key=lambda w: (len(w), w)) if fitting else None
