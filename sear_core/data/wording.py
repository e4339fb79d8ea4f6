"""A prompt as words that can be compared: folded, spelt out, told apart into content and what is said by the way."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from sear_core.data import word_lists
from sear_core.data.letters import fold
from sear_core.data.word_lists import ASKING, DROPPED, FILLER, NUMBERS, SPELT

# a character of a script without spaces, a word, or the end of a clause
_PIECE = re.compile(
    r"(?P<sign>[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])"
    r"|(?P<word>'?[^\W_\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+(?:'[^\W_]+)*'?)"
    r"|(?P<end>[.,;:!?\n()\[\]{}…。、，；：！？—–]|\s-\s)"
)
_SIGNS = re.compile(r"(?<=[a-z])[@$]|[@$](?=[a-z])")
_RUN = re.compile(r"([^\W\d_])\1{2,}")  # no English word has a letter three times on end
_SLASHED = re.compile(r"\bw/(o\b)?")
# tags around the whole: text that came from a page
_OPENED = re.compile(
    r"^(?:\s*<(?:p|div|span|b|i|em|strong|u|q|li|ul|ol|h[1-6]|pre|code|blockquote|body|html)\b[^<>]*>)+"
)
_CLOSED = re.compile(r"(?:<(?:/\w+|br\s*/?)>\s*)+$")
_CLITIC = re.compile(r"'(?:[s5]|r[e3]|v[e3]|ll|d|m|[t7])?$")


class Words(NamedTuple):
    """A prompt as it is compared. Positions are those of `tokens`."""

    letters: str  # all letters and digits, folded
    tokens: tuple[str, ...]  # all words, spelt out
    clauses: frozenset[int]  # positions at which a clause begins
    sentences: frozenset[int]  # of them, those behind more than a comma
    content: tuple[str, ...]  # the words that say what is asked
    places: tuple[int, ...]  # their positions
    fillers: frozenset[str]
    kinds: frozenset[str]  # the different words of the content
    odd: frozenset[str]  # words with other signs than letters, numbers, British spellings

    @property
    def skeleton(self) -> str:
        return "".join(self.content)


def words(text: str) -> Words:
    """The words of a prompt. Where none but question words would be left, all of them are its content."""
    tokens: list[str] = []
    clauses, sentences = {0}, {0}
    raw: list[str] = []
    for sign, piece, end in _PIECE.findall(_once(_plain(text))):
        if end:
            clauses.add(len(tokens))
            if end not in ",、，()[]{}":
                sentences.add(len(tokens))
            continue
        if piece in word_lists.POLITE:
            clauses.add(len(tokens))
        raw.append(piece or sign)
        for word in _spelt_out(raw[-1]):
            if not tokens or tokens[-1] != word:  # a word said twice is said once
                tokens.append(word)
    return sorted_out("".join(raw).replace("'", ""), tokens, frozenset(clauses), frozenset(sentences))


def sorted_out(
    letters: str, tokens: Sequence[str], clauses: frozenset[int], sentences: frozenset[int]
) -> Words:
    """The words of a prompt from its tokens: which of them are content, filler, odd."""
    places = [i for i, token in enumerate(tokens) if token not in DROPPED]
    if all(tokens[i] in ASKING for i in places):  # "what can I do" is not "what is it"
        places = list(range(len(tokens)))
    content = tuple(tokens[i] for i in places)
    odd = frozenset(t for t in tokens if not (t.isascii() and t.isalpha()) or one_spelling(t) != t)
    fillers = frozenset(tokens) & FILLER
    return Words(
        letters, tuple(tokens), clauses, sentences, content, tuple(places), fillers, frozenset(content), odd
    )


def _once(text: str) -> str:
    """A text that says the same thing twice, once."""
    half = len(text) // 2
    first = text[:half].strip()
    return first if len(first) > 10 and first == text[half:].strip() else text


def _plain(text: str) -> str:
    """Folded, without by-the-way phrases, unless nothing else is left."""
    folded = fold(html.unescape(text) if "&" in text and ";" in text else text)
    if "<" in folded:
        folded = _CLOSED.sub("", _OPENED.sub("", folded)) or folded
    if "@" in folded or "$" in folded:
        folded = _SIGNS.sub(lambda sign: {"@": "a", "$": "s"}[sign.group()], folded)
    if "w/" in folded:
        folded = _SLASHED.sub(lambda short: "without " if short[1] else "with ", folded)
    plain = word_lists.HOW.sub("how to", word_lists.PHRASES.sub(" ", folded))
    return plain if any(map(str.isalnum, plain)) else folded


@lru_cache(maxsize=1 << 15)
def _spelt_out(word: str) -> Sequence[str]:
    """A word without its contraction: don't -> do not, what's -> what."""
    if len(word) > 2 and word[0] == word[-1] == "'":  # quoted
        word = word[1:-1]
    if _RUN.search(word):  # "sooo", "stoppp": one letter where that is a word known here, else two
        once = _RUN.sub(r"\1", word)
        word = once if once in DROPPED or once in ASKING else _RUN.sub(r"\1\1", word)
    if word in SPELT:
        return SPELT[word]
    if "'" in word:
        if word.endswith("n't"):
            return [word[:-3], "not"]
        if len(word) > 4 and word.endswith("in'"):
            return [word[:-1] + "g"]
        if (meant := _shortened(word)) is not None:
            return [meant]
        word = _CLITIC.sub("", word).replace("'", "")
    return SPELT.get(word) or ([NUMBERS.get(word, word)] if word else [])


@lru_cache(maxsize=1 << 16)
def one_spelling(word: str) -> str:
    """A word as Americans spell it, or in a form that both spellings come to."""
    if word in word_lists.BRITISH:
        return word_lists.BRITISH[word]
    for ending, other in word_lists.SPELLINGS:
        word = ending.sub(other, word)
    return word


@lru_cache(maxsize=1 << 10)
def _shortened(word: str) -> str | None:
    """The light word for whose letters an apostrophe stands (c'n: can), if there is one."""
    start, _, end = word.partition("'")
    if word.count("'") != 1 or (_CLITIC.search(word) and start and end):
        return None
    fitting = [w for w in word_lists.LIGHT if w.startswith(start) and w.endswith(end) and len(w) >= len(word)]
    return min(fitting, key=lambda w: (len(w), w)) if fitting else None
