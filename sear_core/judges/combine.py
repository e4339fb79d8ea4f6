"""Several judges as one. What none of them can judge stays unjudged. Our choice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeVar

from sear_core.evaluation.judges import UNJUDGED, Judge, Outcome, Verdict

T = TypeVar("T", bound=Hashable)


class FirstJudge:
    """For each row the verdict of the first judge that does not say "unjudged"."""

    def __init__(self, judges: Sequence[Judge]) -> None:
        self.judges = judges
        self.name = "first:" + ",".join(judge.name for judge in judges)

    def judge(
        self, prompts: Sequence[str], answers: Sequence[str], categories: Sequence[str]
    ) -> list[Verdict]:
        found = [UNJUDGED] * len(answers)
        for judge in self.judges:
            left = [i for i, verdict in enumerate(found) if verdict.outcome == "unjudged"]
            if not left:
                break
            told = judge.judge(
                [prompts[i] for i in left], [answers[i] for i in left], [categories[i] for i in left]
            )
            for i, verdict in zip(left, told, strict=True):
                found[i] = verdict
        return found

    def levels(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[float] | None]:
        return first_levels(self.judges, prompts, steps)


class MajorityJudge:
    """For each row and each question what most of the judges say that can judge; a tie is no verdict.

    The outcome is what is voted on first; the class of refusal and `harmful` are voted on among those judges that
    gave this outcome, p_harm is their mean.
    """

    def __init__(self, judges: Sequence[Judge]) -> None:
        self.judges = judges
        self.name = "majority:" + ",".join(judge.name for judge in judges)

    def judge(
        self, prompts: Sequence[str], answers: Sequence[str], categories: Sequence[str]
    ) -> list[Verdict]:
        told = [judge.judge(prompts, answers, categories) for judge in self.judges]
        return [self._vote(row) for row in zip(*told, strict=True)]

    @staticmethod
    def _vote(verdicts: Sequence[Verdict]) -> Verdict:
        able = [verdict for verdict in verdicts if verdict.outcome != "unjudged"]
        outcome: Outcome | None = _most([verdict.outcome for verdict in able])
        if outcome is None:
            return UNJUDGED
        agreeing = [verdict for verdict in able if verdict.outcome == outcome]
        scores = [verdict.p_harm for verdict in agreeing if math.isfinite(verdict.p_harm)]
        return Verdict(
            outcome,
            _most([verdict.harmful for verdict in agreeing if verdict.harmful is not None]),
            sum(scores) / len(scores) if scores else math.nan,
            _most([verdict.refusal for verdict in agreeing if verdict.refusal is not None]),
        )

    def levels(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[float] | None]:
        return first_levels(self.judges, prompts, steps)


def _most(values: Sequence[T]) -> T | None:
    """The value that comes most often; None for none, or where two come equally often."""
    ranked = Counter(values).most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]


def first_levels(
    judges: Sequence[Judge], prompts: Sequence[str], steps: Sequence[Sequence[str]]
) -> list[list[float] | None]:
    """Each reasoning's levels by the first judge that can score it: levels of several are not comparable."""
    found: list[list[float] | None] = [None] * len(steps)
    for judge in judges:
        left = [i for i, levels in enumerate(found) if levels is None]
        if not left:
            break
        for i, levels in zip(
            left, judge.levels([prompts[i] for i in left], [steps[i] for i in left]), strict=True
        ):
            found[i] = levels
    return found
