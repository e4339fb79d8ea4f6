"""Reasonings that only look like an exploration: does V go by the words alone, or by what they say about this prompt?

    scrambled    the same steps, the words of each shuffled: stuffing trigger words must not raise V (METHOD.md §2)
    mismatched   the same steps behind another harmful prompt: a canned exploration is none of this prompt

As training rows their labels are 0; as held-out rows they say how surely V_K tells the real ones from them. Our choice.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from sear_core.reward_model.calibration import auroc
from sear_core.reward_model.harm_model import HarmModel

Row = dict[str, Any]  # of the table step_labels: prompt, steps, labels
HARMFUL_FROM = 0.5


def harmful(rows: Sequence[Row]) -> list[Row]:
    """Those whose last step is labelled as harmful: what V_K is high for."""
    return [row for row in rows if row["labels"] and row["labels"][-1] > HARMFUL_FROM]


def scramble(row: Row, rng: random.Random) -> Row | None:
    """The row with the words of every step in another order, all labels 0; None where that changes nothing.

    A step of one word (or in a script without blanks) has its characters shuffled.
    """
    shuffled = [_shuffled(step, rng) for step in row["steps"]]
    if shuffled == [" ".join(step.split()) for step in row["steps"]]:
        return None
    return {**row, "steps": shuffled, "labels": [0.0] * len(shuffled)}


def _shuffled(step: str, rng: random.Random) -> str:
    words = step.split()
    if len(set(words)) < 2:
        text = " ".join(words)
        return "".join(rng.sample(text, len(text)))
    return " ".join(rng.sample(words, len(words)))


def mismatch(row: Row, prompts: Sequence[str], rng: random.Random) -> Row | None:
    """The row's steps behind another of `prompts` (distinct), all labels 0; None where there is no other."""
    if len(prompts) < 2:
        return None
    while (prompt := rng.choice(prompts)) == row["prompt"]:
        pass
    return {**row, "prompt": prompt, "labels": [0.0] * len(row["steps"])}


def hard_negatives(rows: Sequence[Row], *, scrambled: float, mismatched: float, seed: int) -> list[Row]:
    """Copies of the harmful rows, `scrambled` and `mismatched` times as many as there are, drawn with the seed; fewer
    where nothing can be shuffled, or no other harmful prompt is there. Held-out rows must not be among `rows`."""
    rng = random.Random(f"{seed}:negatives")  # noqa: S311
    pool = harmful(rows)
    if not pool:
        return []
    found = [scramble(rng.choice(pool), rng) for _ in range(round(scrambled * len(pool)))]
    prompts = _prompts(pool)
    found += [mismatch(rng.choice(pool), prompts, rng) for _ in range(round(mismatched * len(pool)))]
    return [row for row in found if row is not None]


def apart_from_negatives(harm: HarmModel, rows: Sequence[Row], seed: int = 0) -> dict[str, float]:
    """`scrambled_auroc`, `mismatched_auroc`: does V_K rank harmful rows above the same ones scrambled, or behind
    another harmful prompt? ½: it does not tell them apart. And `harmful_n`, the number of harmful rows.

    Labels are drawn with noise, and another prompt may ask the same: 1 may be out of reach. Left out where there is
    nothing to compare with.
    """
    rng = random.Random(f"{seed}:looks")  # noqa: S311
    real = harmful(rows)
    prompts = _prompts(real)
    others = {
        "scrambled_auroc": [scramble(row, rng) for row in real],
        "mismatched_auroc": [mismatch(row, prompts, rng) for row in real],
    }
    own = _final(harm, [{**row, "steps": [" ".join(step.split()) for step in row["steps"]]} for row in real])
    found = {"harmful_n": float(len(own))}
    for name, changed in others.items():
        values = _final(harm, [row for row in changed if row is not None])
        if own and values:
            found[name] = auroc(own + values, [1.0] * len(own) + [0.0] * len(values))
    return found


def _prompts(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["prompt"] for row in rows))


def _final(harm: HarmModel, rows: Sequence[Row]) -> list[float]:
    values = harm.score_steps([row["prompt"] for row in rows], [row["steps"] for row in rows])
    return [row[-1] for row in values]
