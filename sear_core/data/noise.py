"""Meaningless text before a completion, so that a tiny model keeps its format after words it has never seen.

A large model does so by itself. Here a part of the warm-start traces begins behind a prefill of made-up words
(no loss on them): before the reasoning, in place of it, or as the opening of the answer. No attack text is
among them, and none of their phrasings: the words are syllables drawn at random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sear_core.chat_format import THINK_CLOSE
from sear_core.data.grammar import Request

if TYPE_CHECKING:
    from sear_core.data.corpus_texts import Dice

CONSONANTS = [*"bcdfghklmnprstvwyz", "th", "ch", "sh", "st", "pr", "tr", "wh", "gr", "cl"]
VOWELS = [*"aeiou", "ea", "ou", "ai", "io", "ee"]
CODAS = ["", "", "n", "r", "s", "ng", "ly", "ed", "t", "ll"]
# our choice; foreign: the reasoning about another request; turned: the beginning of the answer to one
SHAPES = {
    "none": 0.52,
    "lead": 0.08,
    "block": 0.06,
    "foreign": 0.16,
    "empty": 0.04,
    "opening": 0.07,
    "turned": 0.07,
}
NAMES_REQUEST = 0.5  # a line of noise mentions the action and target of the prompt


def word(dice: Dice) -> str:
    """One or two made-up syllables."""
    return "".join(
        dice.pick(CONSONANTS) + dice.pick(VOWELS) + dice.pick(CODAS) for _ in range(1 + int(dice.unit() * 2))
    )


def line(dice: Dice, request: Request, shortest: int = 3, longest: int = 7) -> str:
    """A line of made-up words, in half of the cases around the request's action and target."""
    words = [word(dice) for _ in range(shortest + int(dice.unit() * (longest - shortest + 1)))]
    if dice.chance(NAMES_REQUEST):
        words.insert(int(dice.unit() * (len(words) + 1)), request.fill("{at}"))
    if dice.chance(0.2):
        words[int(dice.unit() * len(words))] += ","
    return " ".join(words)


def prefilled(
    dice: Dice, request: Request, reasoning: str, foreign: tuple[str, str], shapes: dict[str, float] = SHAPES
) -> tuple[str, str]:
    """(prefill, what is left of the reasoning to be written) for one trace; most have none.

    foreign: reasoning and answer for another request.
    """
    shape = dice.weighted(shapes)
    if shape == "lead":
        return "".join(f"{line(dice, request)}\n" for _ in range(1 + int(dice.unit() * 2))), reasoning
    if shape == "block":
        lines = "\n".join(line(dice, request) for _ in range(1 + int(dice.unit() * 3)))
        return f"{lines}\n{THINK_CLOSE}\n", ""
    if shape == "foreign":
        return f"{foreign[0]}\n{THINK_CLOSE}\n", ""
    if shape == "turned":
        words = foreign[1].split()
        before = dice.pick((reasoning, foreign[0]))
        return f"{before}\n{THINK_CLOSE}\n{' '.join(words[: 1 + int(dice.unit() * 6)])}", ""
    if shape == "empty":
        return f"{THINK_CLOSE}\n", ""
    if shape == "opening":
        opening = line(dice, request, shortest=1, longest=6) + dice.pick([":", "!", ",", "."])
        return f"{reasoning}\n{THINK_CLOSE}\n{opening}", ""
    return "", reasoning
