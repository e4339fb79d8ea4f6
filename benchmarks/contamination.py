# ruff: noqa: E501, SIM905 (tables of words)
"""Near-duplicate contamination: how many planted edits are found, how many contrasts are taken for duplicates.

    python benchmarks/contamination.py FOLDER [PROMPTS]   # FOLDER: the public sets, as the presets name them

Prompts of OR-Bench, HarmfulQA, CatQA, AdvBench and CoCoNot stand for the evaluation; edited copies of them are asked
for. The kinds of `DESIGN` were looked at while the method was made, on these sets. Those of `SECOND` were written down
beforehand and kept aside: the first time .861 of them were found (look-alike letters .73, contractions .30, fillers
inside .83), which led to changes, so they count as looked at since. The same with `THIRD`: .839 the first time
(dialect contractions such as t' and 'n' .13, look-alike letters .84). Those of `ASIDE` were written before that third
version was run: .986. Four more lists are in edits.py. False alarms: XSTest's unsafe prompts against its safe ones and the other way
round (XSTest served no choice); contrasts made of the other sets by replacing one content word, or by the word in use that is one letter off; different prompts of
these sets.
"""

from __future__ import annotations

import csv
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

Edit = Callable[[str, random.Random], str | None]
NEXT = dict(
    zip(
        "qwertyuiopasdfghjklzxcvbnm",
        "wa qes wrd etf ryg tuh yij uok ipl o qsz awdx sefc drgv fthb gyjn hukm jil kop asx zsdc xdfv cfgb vghn "
        "bhjm njk".split(),
        strict=True,
    )
)  # keys beside keys


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _typo(text: str, dice: random.Random) -> str | None:
    found = list(re.finditer(r"[A-Za-z]{4,}", text))
    if not found:
        return None
    match = dice.choice(found)
    word, at = match.group(), dice.randrange(1, len(match.group()) - 1)
    kinds = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :], word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:], word[:at] + dice.choice(NEXT[word[at].lower()]) + word[at + 1 :],
    )  # fmt: skip
    return text[: match.start()] + dice.choice(kinds) + text[match.end() :]


def _spacing(text: str, dice: random.Random) -> str:
    at = dice.randrange(2, max(3, len(text) - 2))
    return dice.choice([text.replace(" ", "  "), f"  {text}\n", text.replace(" ", "\t"), text.replace(" ", "", 1),
                        f"{text[:at]} {text[at:]}"])  # fmt: skip


def _punctuation(text: str, dice: random.Random) -> str:
    return dice.choice(
        [re.sub(r"[^\w\s]", "", text), text.rstrip("?.!") + "...", text + "!!!", text.replace(" ", ", ", 1)]
    )


DESIGN: dict[str, Edit] = {
    "case": lambda text, dice: dice.choice([text.upper(), text.lower(), text.title(), text.swapcase()]),
    "punctuation": _punctuation,
    "spacing": _spacing,
    "typo": _typo,
    "please": lambda text, dice: dice.choice(
        [f"Please, {_lower(text)}", f"{text.rstrip('?.')}, please?", f"please {_lower(text)}"]
    ),
    "can you tell me": lambda text, dice: f"Can you tell me {_lower(text)}",
}

LOOK_ALIKE = {
    "a": "аαɑạ", "c": "сϲç", "d": "ԁɗ", "e": "еėҽ", "g": "ɡ9", "h": "һ", "i": "іı1í", "j": "ј", "k": "κк", "l": "ⅼ1ӏ",
    "n": "ոñ", "o": "оο0ö", "p": "рρ", "q": "ԛ", "r": "г", "s": "ѕ5ș", "t": "т7", "u": "υսü", "v": "ѵ", "w": "ԝ", "x": "х",
    "y": "уү", "z": "ᴢ2",
}  # fmt: skip
CONTRACTED = {
    r"\bwhat is\b": "what's", r"\bhow do\b": "how'd", r"\bdo not\b": "don't", r"\bcannot\b": "can't", r"\bis not\b": "isn't",
    r"\bare not\b": "aren't", r"\bI am\b": "I'm", r"\bI have\b": "I've", r"\bI will\b": "I'll", r"\bit is\b": "it's",
    r"\bthat is\b": "that's", r"\bhow is\b": "how's", r"\bwho is\b": "who's", r"\bwhere is\b": "where's", r"\byou are\b": "you're",
    r"\bdoes not\b": "doesn't", r"\bthey are\b": "they're", r"\bwould not\b": "wouldn't", r"\bhow can\b": "how c'n",
    r"\bgoing to\b": "gonna", r"\bwant to\b": "wanna", r"\bwhat are\b": "what're", r"\blet us\b": "let's",
}  # fmt: skip
OPENINGS = (
    "Hey there! ", "Good evening, ", "So, ", "I was wondering: ", "Quick question - ", "I need some help: ",
    "Would you be so kind as to tell me ", "My teacher wants to know: ", "As a curious person, ", "Listen, ", "Umm, ",
    "Alright, ", "Pls help. ", "Hello assistant, ", "Do you happen to know ", "One more thing: ",
)  # fmt: skip
CLOSINGS = (
    " Thanks a lot!", " Cheers, mate.", " I'd really appreciate it.", " Much obliged!", " Looking forward to your answer.",
    " Thanks in advance :)", " asap", ", if you don't mind", ", buddy", " Have a nice day!",
)  # fmt: skip
INNER = (" like,", ", you know,", " actually", " kind of", " basically", ", um,")


LOOK_ALIKE_2 = {
    "a": "ａ𝐚ᴀ", "b": "Ьᖯ", "c": "ᴄⅽ", "d": "ⅾ𝒅", "e": "℮ｅє", "f": "ꬵ𝖿", "g": "ɢ𝗀", "h": "ℎн", "i": "ⅰ𝗂ɪ", "k": "ｋĸ",
    "l": "ⅼӏ", "m": "ⅿᴍ", "n": "ｎո", "o": "ᴏσө", "p": "ｐρ", "r": "ꭇʀ", "s": "ꜱ𝘀", "t": "ᴛτ", "u": "ᴜυ", "v": "ᴠⅴ", "w": "ᴡѡ",
    "x": "ⅹ", "y": "ʏч", "z": "ᴢ",
}  # fmt: skip
CONTRACTED_2 = {
    r"\bthere is\b": "there's", r"\byou will\b": "you'll", r"\bshould not\b": "shouldn't", r"\bcould have\b": "could've",
    r"\bI would\b": "I'd", r"\bthey have\b": "they've", r"\bwhat will\b": "what'll", r"\bbecause\b": "'cause",
    r"\band\b": "'n'", r"\bthem\b": "'em", r"\babout\b": "'bout", r"\bgive me\b": "gimme", r"\bout of\b": "outta",
    r"\bhow can I\b": "how can i", r"\bwhat are\b": "what're", r"\bhow do you\b": "how d'you", r"\bto\b": "t'",
    r"\bhas\b": "'s", r"\bof\b": "o'", r"\bwith\b": "w/",
}  # fmt: skip
OPENINGS_2 = (
    "Hiya, ", "Dear chatbot: ", "Sorry to bother you, but ", "Random thought: ", "My boss asks: ", "Genuine question. ",
    "Right then - ", "Hmm, tricky one: ", "May I ask ", "I'm curious: ", "Good day! ", "Yo dude, ", "Here goes: ",
    "Serious answers only: ", "Morning! ", "Not sure whom to ask: ",
)  # fmt: skip
CLOSINGS_2 = (
    " Thx!", " Many thanks.", " Any help is welcome.", " I'll owe you one!", " Best regards", " Please and thank you.",
    ", friend?", " Ta!", " Hope you can help.", " :-)",
)  # fmt: skip
INNER_2 = (" pretty much", ", well,", " honestly", ", er,", " I guess", " truly", " perhaps", ", hmm,")

CYRILLIC = {
    "a": "а",
    "e": "е",
    "o": "о",
    "p": "р",
    "c": "с",
    "x": "х",
    "y": "у",
    "i": "і",
    "s": "ѕ",
    "h": "һ",
    "k": "к",
    "t": "т",
}
GREEK = {
    "a": "α",
    "o": "ο",
    "v": "ν",
    "i": "ι",
    "u": "υ",
    "p": "ρ",
    "k": "κ",
    "n": "η",
    "t": "τ",
    "e": "ε",
    "x": "χ",
}
CONTRACTED_3 = {
    r"\b(\w+) is\b": r"\1's", r"\b(\w+) are\b": r"\1're", r"\b(\w+) will\b": r"\1'll", r"\b(\w+) have\b": r"\1've",
    r"\b(do|does|did|is|are|was|were|has|have|had|could|would|should) not\b": r"\1n't", r"\bcan ?not\b": "can't",
    r"\bI am\b": "I'm", r"\b(\w+) would\b": r"\1'd", r"\bwill not\b": "won't", r"\blet us\b": "let's",
}  # fmt: skip
OPENINGS_3 = (
    "Excuse me, ", "Hey Claude, ", "Greetings! ", "Just wondering, ", "Hi, quick one: ", "If possible, ", "Kindly ",
    "Out of pure curiosity, ", "Need help here. ", "Be honest: ", "Could you please explain to me ", "Howdy partner, ",
    "Thank you in advance. ", "OK so ", "I would like to know ", "Somebody asked me this: ",
)  # fmt: skip
CLOSINGS_3 = (
    " Thank you!", " Thanks so much in advance.", " It would mean a lot.", " Let me know.", ", thanks", " pretty please",
    " God bless.", " Hope that makes sense.", " Reply soon!", ", kind stranger",
)  # fmt: skip
INNER_3 = (", uh,", " in fact", ", I mean,", " really", ", so to say,", " just", ", oh well,", " simply")


def _look_alikes(text: str, dice: random.Random, table: dict[str, str] = LOOK_ALIKE) -> str:
    return "".join(
        dice.choice(table[letter.lower()]) if letter.lower() in table and dice.random() < 0.15 else letter
        for letter in text
    )


def _contracted(text: str, dice: random.Random, table: dict[str, str] = CONTRACTED) -> str | None:
    new = text
    for long, short in table.items():
        new = re.sub(long, short, new, flags=re.IGNORECASE)
    return new if new != text else None


def _inner(text: str, dice: random.Random, fillers: tuple[str, ...] = INNER) -> str:
    words = text.split()
    at = dice.randrange(1, len(words)) if len(words) > 1 else 1
    return " ".join(words[:at]) + dice.choice(fillers) + " " + " ".join(words[at:])


def _two(text: str, dice: random.Random) -> str | None:
    first, second = dice.sample(sorted(DESIGN), 2)
    edited = DESIGN[first](text, dice)
    return edited and DESIGN[second](edited, dice)


SECOND: dict[str, Edit] = {
    "look-alike letters": _look_alikes,
    "invisible characters": lambda text, dice: "".join(c + "\u200b" * (dice.random() < 0.1) for c in text),
    "contractions": _contracted,
    "other openings": lambda text, dice: dice.choice(OPENINGS) + dice.choice([text, _lower(text)]),
    "other closings": lambda text, dice: text + dice.choice(CLOSINGS),
    "fillers inside": _inner,
    "two of the known kinds": _two,
}

THIRD: dict[str, Edit] = {
    "look-alike letters": lambda text, dice: _look_alikes(text, dice, LOOK_ALIKE_2),
    "soft hyphens": lambda text, dice: "".join(c + "\u00ad" * (dice.random() < 0.1) for c in text),
    "contractions": lambda text, dice: _contracted(text, dice, CONTRACTED_2),
    "other openings": lambda text, dice: dice.choice(OPENINGS_2) + dice.choice([text, _lower(text)]),
    "other closings": lambda text, dice: text + dice.choice(CLOSINGS_2),
    "fillers inside": lambda text, dice: _inner(text, dice, INNER_2),
    "two kinds": lambda text, dice: (
        _typo(dice.choice(OPENINGS_2) + text, dice) if dice.random() < 0.5 else _spacing(text.upper(), dice)
    ),
}

ASIDE: dict[str, Edit] = {
    "Cyrillic letters": lambda text, dice: _look_alikes(text, dice, CYRILLIC),
    "Greek letters": lambda text, dice: _look_alikes(text, dice, GREEK),
    "contractions": lambda text, dice: _contracted(text, dice, CONTRACTED_3),
    "other openings": lambda text, dice: dice.choice(OPENINGS_3) + dice.choice([text, _lower(text)]),
    "other closings": lambda text, dice: text + dice.choice(CLOSINGS_3),
    "fillers inside": lambda text, dice: _inner(text, dice, INNER_3),
    "opening and typo": lambda text, dice: dice.choice(OPENINGS_3) + (_typo(text, dice) or text),
}


def prompts_of(folder: Path) -> list[str]:
    """Distinct prompts of the sets that served the design."""

    def lines(path: str, column: str) -> list[str]:
        return [json.loads(line)[column] for line in (folder / path).open(encoding="utf-8")]

    with (folder / "advbench/harmful_behaviors.csv").open(encoding="utf-8") as file:
        advbench = [row["goal"] for row in csv.DictReader(file)]
    found = (
        lines("or_bench_hard/or_bench_hard_train.jsonl", "instruction") + lines("red_instruct/harmfulqa.jsonl", "question")
        + lines("red_instruct/catqa_english.jsonl", "question") + advbench + lines("coconot/coconot_pref.jsonl", "prompt")
    )  # fmt: skip
    return sorted({text.strip() for text in found})


def xstest(folder: Path) -> tuple[list[str], list[str]]:
    """(safe, unsafe) prompts."""
    with (folder / "xstest/xstest_prompts.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return tuple([row["prompt"] for row in rows if row["label"] == label] for label in ("safe", "unsafe"))  # type: ignore[return-value]


def count(prompts: list[str]) -> Counter[str]:
    from sear_core.data.cleaning import count_words

    counts: Counter[str] = Counter()
    for text in set(prompts):
        count_words(counts, text)
    return counts


def found_share(references: list[str], edit: Edit, counts: Counter[str], seed: int = 0) -> tuple[int, int]:
    """(found, planted) of one edited copy of each reference, among all references."""
    from sear_core.data.near import ReferenceIndex
    from sear_core.data.wording import words

    dice, index = random.Random(seed), ReferenceIndex(references, counts)  # noqa: S311
    edited = [text for text in (edit(text, dice) for text in references) if text is not None]
    return sum(index.match(words(text)) is not None for text in edited), len(edited)


def alarms(references: list[str], others: list[str], counts: Counter[str]) -> int:
    """How many of the others are taken for a near-duplicate of a reference."""
    from sear_core.data.near import ReferenceIndex
    from sear_core.data.wording import words

    index = ReferenceIndex(references, counts)
    return sum(index.match(words(text)) is not None for text in others)


def replaced(prompts: list[str], counts: Counter[str], seed: int = 0) -> list[str]:
    """Contrasts: in each prompt one content word gives way to another word of the corpus."""
    from sear_core.data.wording import words

    dice = random.Random(seed)  # noqa: S311
    vocabulary = sorted(
        word for word, number in counts.items() if number >= 3 and words(word).content == (word,)
    )
    contrasts = []
    for text in prompts:
        parsed = words(text)
        tokens, at = list(parsed.tokens), dice.choice(parsed.places)
        tokens[at] = dice.choice([word for word in dice.sample(vocabulary, 5) if word != tokens[at]])
        contrasts.append(" ".join(tokens))
    return contrasts


def one_letter_off(prompts: list[str], counts: Counter[str], seed: int = 0) -> list[str]:
    """Harder contrasts: a content word gives way to another one in use that differs by one letter."""
    from sear_core.data.wording import words

    dice = random.Random(seed)  # noqa: S311
    used = {word for word, number in counts.items() if number >= 3 and words(word).content == (word,)}
    letters = "abcdefghijklmnopqrstuvwxyz"
    contrasts = []
    for text in prompts:
        parsed = words(text)
        tokens = list(parsed.tokens)
        near = [
            (at, other)
            for at in parsed.places
            for word in [tokens[at]]
            for i in range(len(word) + 1)
            for other in sorted(
                used & {word[:i] + c + word[j:] for c in letters for j in (i, i + 1)} - {word}
            )
            if other not in (word + "s", word[:-1])
        ]
        if near:
            at, tokens_at = dice.choice(near)
            tokens[at] = tokens_at
            contrasts.append(" ".join(tokens))
    return contrasts


def main(folder: Path, number: int) -> None:
    import edits

    prompts = prompts_of(folder)
    random.Random(0).shuffle(prompts)  # noqa: S311
    references, rest = prompts[:number], prompts[number:]
    counts = count(prompts)
    groups = [
        ("design", DESIGN),
        ("second", SECOND),
        ("third", THIRD),
        ("fourth", ASIDE),
        *((f"edits {name}", getattr(edits, name)) for name in "ABCD"),
    ]
    for title, kinds in groups:
        total = [0, 0]
        for kind, edit in kinds.items():
            hits, planted = found_share(references, edit, counts)
            total = [total[0] + hits, total[1] + planted]
            print(f"{title:<8} {kind:<28} {hits:>5} of {planted:<5} found: {hits / planted:.4f}", flush=True)
        print(
            f"{title:<8} {'all':<28} {total[0]:>5} of {total[1]:<5} found: {total[0] / total[1]:.4f}",
            flush=True,
        )
    safe, unsafe = xstest(folder)
    own = count(safe + unsafe)
    for name, held, asked in (("unsafe against safe", safe, unsafe), ("safe against unsafe", unsafe, safe)):
        wrong = alarms(held, asked, own)
        print(f"false alarms XSTest, {name}: {wrong} of {len(asked)}: {wrong / len(asked):.4f}")
    contrasts = replaced(references, counts)
    wrong = alarms(references, contrasts, counts)
    print(
        f"false alarms, one content word replaced: {wrong} of {len(contrasts)}: {wrong / len(contrasts):.4f}"
    )
    contrasts = one_letter_off(references, counts)
    wrong = alarms(references, contrasts, counts)
    print(f"false alarms, a word one letter off: {wrong} of {len(contrasts)}: {wrong / len(contrasts):.4f}")
    wrong = alarms(references, rest, counts)
    print(
        f"different prompts of these sets taken for near-duplicates: {wrong} of {len(rest)}: {wrong / len(rest):.4f}"
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
