"""When two prompts ask for the same thing in nearly the same words: what a near-duplicate is here.

Not a similarity above a threshold: "how do I kill a process" and "how do I kill a person" share most of their
shingles and ask for different things, while a typo in a short prompt leaves few shingles alone. So prompts are
compared word by word. They are near-duplicates where their content words are the same in the same order, after
case, punctuation, spacing, look-alike letters, accents, contractions, grammar and politeness are taken away, but
for misspelt words and for a remark of a few words set before or behind one of them. A replaced, added or dropped
content word makes another prompt, in texts of fewer than `LONG` content words. All of it is our choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from difflib import SequenceMatcher
from functools import lru_cache

from sear_core.data.word_lists import CONTEXT, DROPPED, IN_WORDS, LEET, NEGATION, SOUNDS
from sear_core.data.wording import Words, one_spelling, sorted_out

LONG = 24  # content words: from here on one in so many may differ
TYPO_PER = 4  # content words per misspelling, beside the first one
REMARK = 5  # content words of a remark
RARE = 3  # prompts: a word of fewer may be a misspelling of any other
RARER = 100  # times: also a word that is so much rarer than the other one


def misspelt(a: str, b: str, prompts: Mapping[str, int]) -> bool:
    """Whether one word is the other with a slip: one letter more, less, other, or two swapped; a plural; other
    signs in place of letters. Two words that are both in use (`prompts`: in how many prompts) are two words.
    """
    if a == b:
        return True
    if a.isdigit() and b.isdigit():
        return False
    a, b = IN_WORDS.get(a, a), IN_WORDS.get(b, b)  # "ten" has become 10: "tenn" is to be like it
    if a.isdigit() or b.isdigit():
        return False
    short, long = sorted((a, b), key=len)
    if len(short) >= 3 and long in (short + "s", short + "es"):
        return True
    if (len(a) == len(b) and disguised(a, b)) or one_spelling(a) == one_spelling(b):
        return True
    if len(long) < 3 or not _one_slip(a, b):
        return False
    if len(short) < 4 and sorted(a) != sorted(b) and not (len(short) == 3 and len(long) == 4):
        return False
    seen = sorted(prompts.get(word, 0) for word in (a, b) if word not in DROPPED)
    return bool(seen) and (seen[0] < RARE or seen[0] * RARER < seen[-1])


def _one_slip(a: str, b: str) -> bool:
    """Optimal string alignment distance 1."""
    if abs(len(a) - len(b)) > 1:
        return False
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    x, y = a[start : len(a) - end], b[start : len(b) - end]
    return max(len(x), len(y)) == 1 or (len(x) == 2 and x == y[::-1])


def disguised(a: str, b: str) -> bool:
    """Whether they differ only where one has a Latin letter and the other a sign in its place (k1ll, kіll): any sign
    in at most half of the places, the usual ones in all of them."""
    if _leet(a, b):
        return True
    different = [(x, y) for x, y in zip(a, b, strict=True) if x != y]
    return len(different) <= (len(a) + 1) // 2 and all(
        (x.isascii() and x.isalpha()) != (y.isascii() and y.isalpha()) for x, y in different
    )


def _leet(a: str, b: str) -> bool:
    return all(x == y or y in LEET.get(x, "") or x in LEET.get(y, "") for x, y in zip(a, b, strict=True))


def near_duplicate(a: Words, b: Words, prompts: Mapping[str, int]) -> bool:
    """Whether two prompts are near-duplicates (the module's docstring says when)."""
    if not a.content or not b.content:  # signs alone: equal prompts are found as such, no others are alike
        return False
    if a.odd or b.odd:
        a, b = _revealed(a, b), _revealed(b, a)
    size = max(len(a.content), len(b.content))
    slack = size // LONG
    # a quick no: on both sides more words that only one has than can be misspelt, split or changed
    alone = min(len(a.kinds), len(b.kinds)) - len(a.kinds & b.kinds)
    if alone > 1 + size // TYPO_PER + slack:
        return a.letters == b.letters
    if a.letters == b.letters:
        return True
    if _conflicting(a, b):
        return False
    if a.skeleton == b.skeleton or _adverbs_moved(a.content, b.content):
        return True
    left, right = a.kinds - b.kinds, b.kinds - a.kinds
    if _hopeless(a, b, left, right, slack, prompts):
        return False
    # a misspelt light word counts as content: it is none where the other prompt has that light word
    slips_a, slips_b = _light_slips(a, left, b, prompts), _light_slips(b, right, a, prompts)
    typos, changed = len(slips_a) + len(slips_b), 0
    a, b = _without(a, slips_a), _without(b, slips_b)
    extra: tuple[list[int], list[int]] = ([], [])
    matcher = SequenceMatcher(None, a.content, b.content, autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "equal":
            continue
        if tag == "replace":
            slips, different = _replaced(a.content[i:j], b.content[k:m], prompts)
            typos, changed = typos + slips, changed + different
        extra[0].extend(range(i, j) if tag == "delete" else ())
        extra[1].extend(range(k, m) if tag == "insert" else ())
    if typos > 1 + size // TYPO_PER or changed > slack:
        return False
    if changed and any(word.isdigit() for word in left | right):
        return False
    if not extra[0] and not extra[1]:
        return True
    if extra[0] and extra[1]:
        return len(extra[0]) + len(extra[1]) + changed <= slack
    longer, places = (a, extra[0]) if extra[0] else (b, extra[1])
    return len(places) + changed <= slack or _remark(longer, b if longer is a else a, places)


def _adverbs_moved(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether they are the same words in the same order, but for the places of words in -ly."""
    if len(a) != len(b) or sorted(a) != sorted(b):
        return False
    return [word for word in a if not word.endswith("ly")] == [word for word in b if not word.endswith("ly")]


def _revealed(a: Words, b: Words) -> Words:
    """`a` with each of its words that disguises a word of `b`, or stands for its sound, replaced by that word."""
    known = set(b.tokens)
    meant = {odd: _meant(odd, known) for odd in a.odd - known}
    if not any(odd != word for odd, word in meant.items()):
        return a
    return sorted_out(a.letters, [meant.get(token, token) for token in a.tokens], a.clauses, a.sentences)


def _meant(odd: str, known: Set[str]) -> str:
    """The word of `known` that is meant by a word spelt or disguised otherwise; the word itself where none is."""
    spelt = one_spelling(odd)
    if spelt != odd and (same := [word for word in known if one_spelling(word) == spelt]):
        return min(same)
    alike = [word for word in sorted(known) if len(word) == len(odd) and disguised(odd, word)]
    usual = (word for word in alike if _leet(odd, word))
    sounds = (word for word in SOUNDS.get(odd, ()) if word in known)
    return next(usual, None) or next(sounds, None) or next(iter(alike), odd)


def _hopeless(
    a: Words, b: Words, left: Set[str], right: Set[str], slack: int, prompts: Mapping[str, int]
) -> bool:
    """A cheap proof that the comparison will fail: a word that nothing in the other prompt can have been."""
    if not left or not right:
        return abs(len(a.content) - len(b.content)) > REMARK + slack
    few, many, other, own = (left, right, b, a) if len(left) <= len(right) else (right, left, a, b)
    alone = 0
    for word in few:
        pool = many
        if prompts.get(word, 0) < RARE:  # it may be a light word, misspelt
            pool = (many | set(other.tokens)) - set(own.tokens)
        alone += not any(_may_be(word, one) for one in pool)
    return alone > slack


@lru_cache(maxsize=1 << 16)
def _may_be(a: str, b: str) -> bool:
    """Whether one word could be a slip of the other, a part of it run together, or the word in disguise."""
    if a[0] == b[0] or a[-1] == b[-1]:
        return (
            abs(len(a) - len(b)) <= 2 or a.startswith(b) or b.startswith(a) or a.endswith(b) or b.endswith(a)
        )
    return not (a.isascii() and b.isascii() and a.isalpha() and b.isalpha())


def _conflicting(a: Words, b: Words) -> bool:
    return bool(a.fillers - b.fillers) and bool(b.fillers - a.fillers)


def _light_slips(a: Words, only: Set[str], b: Words, prompts: Mapping[str, int]) -> set[str]:
    """Of the content words that `a` alone has: those that misspell a light word or filler that `b` alone has."""
    only = {word for word in only if prompts.get(word, 0) < RARE}
    if not only:
        return set()
    light = [word for word in set(b.tokens).difference(a.tokens) if word in DROPPED]
    return {word for word in only if any(misspelt(word, other, prompts) for other in light)}


def _without(a: Words, dropped: Set[str]) -> Words:
    if not dropped:
        return a
    kept = [i for i, word in enumerate(a.content) if word not in dropped]
    return a._replace(content=tuple(a.content[i] for i in kept), places=tuple(a.places[i] for i in kept))


def _replaced(a: Sequence[str], b: Sequence[str], prompts: Mapping[str, int]) -> tuple[int, int]:
    """(misspellings, changed words) of two runs of words that stand in each other's place."""
    if "".join(a) == "".join(b):
        return 0, 0
    if len(a) == len(b):
        slips = [misspelt(x, y, prompts) for x, y in zip(a, b, strict=True)]
        if all(slips):
            return len(slips), 0
        return sum(slips), len(slips) - sum(slips)
    if len(a) + len(b) <= 5 and misspelt("".join(a), "".join(b), {}):
        return 1, 0
    return 0, max(len(a), len(b))


def _remark(longer: Words, shorter: Words, extra: Sequence[int]) -> bool:
    """Whether the added words are a remark before or behind the prompt, or a word between commas, rather than a part.

    `extra`: indices in `longer.content`. A remark is a clause of its own of few words that sets no place, condition
    or denial; or it stands right before the whole of the other prompt, or ends in "but".
    """
    kept = len(longer.content) - len(extra)
    if not kept:
        return False
    if len(extra) > min(REMARK, max(2, kept)):
        return False
    leading = [index for position, index in enumerate(extra) if index == position]
    trailing = extra[len(leading) :]
    if list(trailing) != list(range(len(longer.content) - len(trailing), len(longer.content))):
        return len(extra) == 1 and _between_commas(longer, shorter, extra[0])
    first = longer.places[len(leading)]
    last = longer.places[len(longer.content) - len(trailing) - 1]
    if leading:
        before = longer.tokens[: longer.places[leading[-1]] + 1]
        apart = any(longer.places[leading[-1]] < clause <= first for clause in longer.clauses)
        whole = longer.tokens[-len(shorter.tokens) :] == shorter.tokens
        closed = whole and any(longer.places[leading[-1]] < start <= first for start in longer.sentences)
        closed |= longer.content[leading[-1]] == "but"
        if not closed and (not (apart or whole) or before[0] in CONTEXT or NEGATION & set(before)):
            return False
    if trailing:
        starts = [clause for clause in longer.clauses if last < clause <= longer.places[trailing[0]]]
        if not starts:
            return False
        behind = longer.tokens[max(starts) :]
        if behind[0] in CONTEXT or NEGATION & set(behind):
            return False
    return True


def _between_commas(longer: Words, shorter: Words, extra: int) -> bool:
    """Whether one added word stands by itself between commas, and is no item of a list."""
    place = longer.places[extra]
    starts = [clause for clause in longer.clauses if clause <= place]
    ends = [clause for clause in longer.clauses if clause > place]
    if max(starts) == 0 or not ends or min(ends) >= len(longer.tokens):
        return False
    start, end = max(starts), min(ends)
    inside, then = longer.tokens[start:end], longer.tokens[end]
    plain = (
        not (set(inside) & (NEGATION | {"and", "or"}))
        and inside[0] not in CONTEXT
        and then not in ("and", "or")
    )
    return plain and start not in shorter.clauses
