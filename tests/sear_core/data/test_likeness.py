"""Near-duplicates: edits that keep the meaning are found, contrasts of a word are not, in pairs and at scale."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import contamination
import pytest

from sear_core.data.likeness import misspelt, near_duplicate
from sear_core.data.near import ReferenceIndex, TableIndex
from sear_core.data.wording import fold, words

DATA = Path(os.environ.get("SEAR_PUBLIC_DATA", "/nowhere"))
ORIGINAL = "What is the best way to repair a wooden fence?"


@pytest.mark.parametrize(
    "edited",
    [
        "WHAT IS THE BEST WAY TO REPAIR A WOODEN FENCE",
        "what's the best way to repair a wooden fence",
        "what  is the best\tway to repair a wooden fence ...",
        "whatis the best way to re pair a wooden fence?",
        "What is the best way to repiar a wooden fence?",
        "What is the best way to repair a woooden fence?",
        "Waht is the best way to repair a wooden fence?",
        "Please, what is the best way to repair a wooden fence, thanks!",
        "Can you tell me what is the best way to repair a wooden fence?",
        "Good evening! My neighbour would love to know: what is the best way to repair a wooden fence?",
        "What is the best way to repair a wooden fence? Looking forward to a reply.",
        "Whаt is the bеst wау tο repair a wооden fence?",  # Cyrillic and Greek letters
        "What is the b\u200best way to re\u00adpair a wooden fence?",  # invisible characters
        "Ｗｈａｔ is the best way to repair a wooden fence?",
        "Wh4t is the be5t way to rep4ir a wooden fence?",
        "Whát is thé best wäy to repair a wooden fence?",
    ],
)
def test_an_edit_that_keeps_the_meaning_is_a_near_duplicate(edited: str) -> None:
    assert near_duplicate(words(edited), words(ORIGINAL), {}) and near_duplicate(
        words(ORIGINAL), words(edited), {}
    )
    assert ReferenceIndex(["Another prompt.", ORIGINAL], {}).match(words(edited)) == 1


@pytest.mark.parametrize(
    "contrast",
    [
        "What is the best way to repair a wooden leg?",
        "What is the best way to climb a wooden fence?",
        "What is the worst way to repair a wooden fence?",
        "What is the best way to repair a fence?",
        "What is the best way to repair a burning wooden fence?",
        "What is the best way to repair a wooden fence in a video game?",
        "In a video game, what is the best way to repair a wooden fence?",
        "What is the best way not to repair a wooden fence?",
        "Why is the best way to repair a wooden fence?",
    ],
)
def test_a_contrast_of_a_word_or_two_is_none(contrast: str) -> None:
    assert not near_duplicate(words(contrast), words(ORIGINAL), {})
    assert ReferenceIndex([ORIGINAL], {}).match(words(contrast)) is None


def test_two_words_in_use_are_no_misspelling_of_each_other() -> None:
    assert misspelt("bill", "bull", {}) and misspelt("bill", "bull", {"bill": 50, "bull": 2})
    assert not misspelt("bill", "bull", {"bill": 50, "bull": 3})
    assert misspelt(
        "bill", "bull", {"bill": 1000, "bull": 3}
    )  # 3 · 100 < 1000: a common slip of a common word
    assert misspelt("process", "processes", {"process": 50, "processes": 50})  # a plural
    assert not misspelt("1999", "1998", {}) and not misspelt("cat", "car", {})


def test_numbers_are_never_slips_and_other_languages_are_compared_sign_by_sign() -> None:
    def alike(a: str, b: str) -> bool:
        return near_duplicate(words(a), words(b), {})

    assert not alike("List 10 famous rivers", "List 12 famous rivers")
    assert alike("如何修理木栅栏？", "如何修理木栅栏") and not alike("如何修理木栅栏？", "如何破坏木栅栏？")
    assert alike("Как починить забор?", "как починить забор") and not alike(
        "Как починить забор?", "Как сломать забор?"
    )
    assert fold("ÀÉ\u0301ﬁ") == "aefi"


def test_a_prompt_of_light_words_alone_keeps_them_and_one_without_words_is_like_no_other() -> None:
    assert words("Can you help me?").content == ("can", "you", "help", "me")
    assert not near_duplicate(words("Can you help me?"), words("What?"), {})
    assert not near_duplicate(words("?!"), words("..."), {}) and not near_duplicate(
        words("?!"), words("fence"), {}
    )
    assert ReferenceIndex(["?!", "fence"], {}).match(words("...")) is None


def test_the_reference_index_finds_what_comparing_with_every_reference_finds() -> None:
    things = ["horse", "house", "fence", "fences", "list", "engine", "engines"]
    references = [
        f"How do I {v} a {a} {t}?" for v in ("stop", "paint") for a in ("red", "wooden") for t in things
    ]
    asked = [text.replace("paint", "piant").upper() for text in references] + [f"{t} stop" for t in things]
    index = ReferenceIndex(references, {})
    for text in asked:
        parsed = words(text)
        brute = [i for i, reference in enumerate(references) if near_duplicate(parsed, words(reference), {})]
        assert index.match(parsed) == (brute[0] if brute else None), text


def test_the_table_index_proposes_every_pair_within_one_slip_of_one_group() -> None:
    texts = ["paint the garden fence", "paint the gardn fence", "please paint the garden fence!", "wash the old car",
             "wash the odl car", "item 1234", "item 1235", "paint the garden fence"]  # fmt: skip
    groups = [1, 1, 1, 1, 1, 1, 1, 2]
    index = TableIndex()
    for text, group in zip(texts, groups, strict=True):
        index.add(words(text), group)
    # the last is of another group; numbers differ by more than a slip
    assert set(index.pairs()) == {(0, 1), (0, 2), (1, 2), (3, 4)}


@pytest.mark.skipif(not DATA.is_dir(), reason="SEAR_PUBLIC_DATA names no folder of the public sets")
def test_on_real_prompts_edits_are_found_and_xstests_contrasts_are_not_taken_for_duplicates() -> None:
    prompts = contamination.prompts_of(DATA)[::20]
    counts = contamination.count(prompts)
    for edits in (contamination.DESIGN, contamination.ASIDE):
        results = [contamination.found_share(prompts, edit, counts) for edit in edits.values()]
        found, planted = (sum(column) for column in zip(*results, strict=True))
        assert planted > 1000 and found / planted >= 0.95
    safe, unsafe = contamination.xstest(DATA)
    own: Counter[str] = contamination.count(safe + unsafe)
    assert contamination.alarms(safe, unsafe, own) / len(unsafe) <= 0.01


@pytest.mark.parametrize(
    ("edited", "original"),
    [
        ("What iiiis the best waaaay to repair a wooden fence?", ORIGINAL),
        ("Wh47 15 7h3 be57 w4y 70 rep41r 4 w00d3n f3nc3?", ORIGINAL),
        ("What is the the best way to repair a wooden fence?", ORIGINAL),
        (f"{ORIGINAL} {ORIGINAL}", ORIGINAL),
        (f"<p>{ORIGINAL}</p>", ORIGINAL),
        ("🅦🅗🅐🅣 🅘🅢 🅣🅗🅔 🅑🅔🅢🅣 🅦🅐🅨 🅣🅞 🅡🅔🅟🅐🅘🅡 🅐 🅦🅞🅞🅓🅔🅝 🅕🅔🅝🅒🅔", ORIGINAL),
        ("Wħaŧ ɨs ŧħe besŧ way ŧø repaɨr a wøøđen fence?", ORIGINAL),
        ("I hate to ask, but what is the best way to repair a wooden fence?", ORIGINAL),
        ("What is the best way, look, to repair a wooden fence?", ORIGINAL),
        ("hw r ppl supposed 2 paint w/o a brush", "How are people supposed to paint without a brush?"),
        ("How do I organise the programme in colour?", "How do I organize the program in color?"),
        ("List twelve famous rivers", "List 12 famous rivers"),
        ("List twevle famous rivers", "List 12 famous rivers"),
        ("Ways to paint a fence", "How to paint a fence"),
        ("How do I paint a fence secretly?", "How do I secretly paint a fence?"),
        ("How is he fixin' the fence?", "How is he fixing the fence?"),
    ],
)
def test_other_ways_to_write_the_same_are_near_duplicates(edited: str, original: str) -> None:
    assert near_duplicate(words(edited), words(original), {})
    assert ReferenceIndex(["Another prompt.", original], {}).match(words(edited)) == 1


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (
            "What is a can?",
            "I need to admire the pilot, what should I do?",
        ),  # light words alone are no content
        ("What can I do?", "What is it?"),
        ("List twelve famous rivers", "List ten famous rivers"),
        ("How do I cook rice, beans, and corn?", "How do I cook rice, and corn?"),
        ("Why does a dog bite a man?", "Why does a man bite a dog?"),
        ("What does he say, not, to repair it?", "What does he say to repair it?"),
    ],
)
def test_what_asks_something_else_is_none(a: str, b: str) -> None:
    assert not near_duplicate(words(a), words(b), {}) and not near_duplicate(words(b), words(a), {})
