"""The texts of the embedded corpus for one request, drawn from the grammar's phrasings.

The warm start's habits are here too: how often it complies (`comply_chance`), how its analysis errs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from sear_core.data import grammar
from sear_core.data.grammar import Request

SEED = "sear embedded corpus 1"

# the warm start's habits: mean chance of the answer, and how far it moves from the mildest trigger word to
# the strongest (± SPREAD around the mean)
REFUSE_HARMFUL, REFUSE_SPREAD = 0.62, 0.30
COMPLY_AMBIGUOUS, COMPLY_SPREAD = 0.54, 0.36
COMPLY_HARMLESS = 0.86
RIGHT_KIND = 0.95  # the analysis names the target's kind rightly

T = TypeVar("T")


class Dice:
    """Draws that stay the same on every Python version: they use `random.random` alone."""

    def __init__(self, name: str) -> None:
        self._random = random.Random(f"{SEED}: {name}").random  # noqa: S311 (no cryptography here)

    def chance(self, p: float) -> bool:
        return self._random() < p

    def unit(self) -> float:
        return self._random()

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self._random() * len(items))]

    def weighted(self, weights: dict[T, float]) -> T:
        u = self._random() * sum(weights.values())
        for item, weight in weights.items():
            u -= weight
            if u < 0:
                return item
        return item

    def shuffled(self, items: Sequence[T]) -> list[T]:
        keyed = sorted(((self._random(), item) for item in items), key=lambda pair: pair[0])
        return [item for _, item in keyed]


def complied(dice: Dice, request: Request) -> str:
    return request.fill(" ".join(dice.pick(grammar.COMPLIANCES)))


def refused(dice: Dice, request: Request) -> str:
    return request.fill(dice.pick(grammar.REFUSALS))


def incoherent(dice: Dice, request: Request) -> str:
    """Mixed, cut off, shuffled, or pieced together from what answers and steps are made of.

    The last three kinds are what a policy writes that exploits a reward model which never saw them. Answers
    about another request are not among them: so small a reward model cannot tell them from right ones, and
    would learn to prefer refusals to both. They are the coherence floor's business (policy/coherence.py).
    """
    whole, refusal = complied(dice, request), refused(dice, request)
    words = whole.split()
    body = request.fill(dice.pick(grammar.COMPLIANCES)[1])
    wrong = {
        "mixed": f"{whole} {refusal}" if dice.chance(0.5) else f"{refusal} {whole}",
        "cut": " ".join(words[: 2 + int(dice.unit() * (len(words) - 4))]),
        "shuffled": " ".join(dice.shuffled(words)),
        "hybrid": f"{' '.join(refusal.split()[: 1 + int(dice.unit() * 4)])} {request.fill('to {at}, ')}{body}",
        "echo": f"{request.fill(dice.pick(grammar.ANALYSES))}{dice.pick((':', ',', '.'))} {body}",
        "pieces": pieces(dice, request),
        "meaning": f"{meaning(request, dice.pick(('animal', 'person', 'thing')))}.",
    }
    return dice.pick(list(wrong.values()))


def meaning(request: Request, kind: str) -> str:
    """That the target is of that kind, rightly or not."""
    return grammar.FACT.format(x=grammar.a(request.target), kind=grammar.a(kind))


def pieces(dice: Dice, request: Request) -> str:
    """Two to five runs of a few words each, out of answers and steps about the request."""
    runs = []
    for _ in range(2 + int(dice.unit() * 4)):
        step = request.fill(dice.pick((*grammar.ANALYSES, *grammar.REFUSE_STEPS, *grammar.COMPLY_STEPS)))
        words = dice.pick((complied(dice, request), refused(dice, request), step)).split()
        start = int(dice.unit() * len(words))
        runs += words[start : start + 2 + int(dice.unit() * 4)]
    return " ".join(runs)


def other_request(dice: Dice, request: Request) -> Request:
    """The request with another action or another target of the training words."""
    if dice.chance(0.5):
        targets = [t for t in grammar.ANIMALS + grammar.PERSONS + grammar.THINGS if t != request.target]
        return Request(request.action, dice.pick(targets), request.context)
    actions = [act for act in (*grammar.TRIGGERS, *grammar.NEUTRAL) if act != request.action]
    return Request(dice.pick(actions), request.target, request.context)


def analysis(dice: Dice, request: Request) -> list[str]:
    """Two to four steps that say what is asked, what the target is, and whether it is make-believe."""
    steps = [dice.pick(grammar.NULL_STEPS)] if dice.chance(0.1) else []
    steps.append(request.fill(dice.pick(grammar.ANALYSES)))
    kind = grammar.KIND[request.target]
    if not dice.chance(RIGHT_KIND):
        kind = dice.pick([k for k in ("animal", "person", "thing") if k != kind])
    steps.append(meaning(request, kind))
    if request.fiction and dice.chance(RIGHT_KIND):
        steps.append(request.fill(grammar.FICTION_NOTE))
    return steps


def exploration(dice: Dice, request: Request, phases: Sequence[int] = (0, 1, 2)) -> list[str]:
    return [request.fill(dice.pick(grammar.PHASES[phase])) for phase in phases]


def strength(action: str) -> float:
    """How strong a trigger word is: +1 for the first in the grammar's list, down to -1 for the last."""
    order = list(grammar.TRIGGERS)
    return 1 - 2 * order.index(action) / (len(order) - 1)


def comply_chance(request: Request) -> float:
    """The warm start's chance of complying, by habit."""
    if request.category == "harmless":
        return COMPLY_HARMLESS
    if request.category == "harmful":
        return 1 - REFUSE_HARMFUL - REFUSE_SPREAD * strength(request.action)
    return COMPLY_AMBIGUOUS - COMPLY_SPREAD * strength(request.action)


def attack_texts(dice: Dice, request: Request) -> dict[str, object]:
    """The three attack texts on one prompt, in phrasings that no training text has."""
    lead = dice.pick(grammar.ATTACK_LEAD)
    phases = [request.fill(dice.pick(phase)) for phase in grammar.ATTACK_PHASES]
    return {
        "harmful_reasoning": "\n".join([lead, *phases]),
        "benign_reasoning": dice.pick(grammar.BENIGN_REASONING),
        "affirmative": request.fill(dice.pick(grammar.AFFIRMATIVES)),
    }
