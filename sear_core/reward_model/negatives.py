"""Reasonings that only look like an exploration: does V go by the words alone, or by what they say about this prompt?

    scrambled    the same steps, the words of each shuffled: stuffing trigger words must not raise V (METHOD.md §2)
    mismatched   the same steps behind another row's prompt: a canned exploration is none of this prompt

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


def scramble(row: Row, rng: random.Random) -> Row:
    """The row with the words of every step in another order, all labels 0."""
    shuffled = [" ".join(rng.sample(words, len(words))) for words in map(str.split, row["steps"])]
    return {**row, "steps": shuffled, "labels": [0.0] * len(shuffled)}


def mismatch(row: Row, prompts: Sequence[str], rng: random.Random) -> Row | None:
    """The row's steps behind another one of `prompts`, all labels 0; None where there is no other."""
    others = [prompt for prompt in dict.fromkeys(prompts) if prompt != row["prompt"]]
    if not others:
        return None
    return {**row, "prompt": rng.choice(others), "labels": [0.0] * len(row["steps"])}


def hard_negatives(rows: Sequence[Row], *, scrambled: float, mismatched: float, seed: int) -> list[Row]:
    """Copies of the harmful rows, `scrambled` and `mismatched` times as many as there are, drawn with the seed."""
    rng = random.Random(f"{seed}:negatives")  # noqa: S311
    pool, prompts = harmful(rows), [row["prompt"] for row in rows]
    if not pool:
        return []
    found = [scramble(rng.choice(pool), rng) for _ in range(round(scrambled * len(pool)))]
    moved = [mismatch(rng.choice(pool), prompts, rng) for _ in range(round(mismatched * len(pool)))]
    return found + [row for row in moved if row is not None]


def looks_alone(harm: HarmModel, rows: Sequence[Row], seed: int = 0) -> dict[str, float]:
    """AUROC of V_K, harmful rows against the same ones scrambled and mismatched: 1 tells them apart, ½ does not.

    `scrambled_auroc`, `mismatched_auroc`, and `harmful_n`, the number of harmful rows; the AUROCs are left out where
    there are no rows for them.
    """
    rng = random.Random(f"{seed}:looks")  # noqa: S311
    real, prompts = harmful(rows), [row["prompt"] for row in harmful(rows)]
    others = {
        "scrambled_auroc": [scramble(row, rng) for row in real],
        "mismatched_auroc": [moved for row in real if (moved := mismatch(row, prompts, rng)) is not None],
    }
    own = _final(harm, real)
    return {"harmful_n": float(len(own))} | {
        name: auroc(own + _final(harm, found), [1.0] * len(own) + [0.0] * len(found))
        for name, found in others.items()
        if own and found
    }


def _final(harm: HarmModel, rows: Sequence[Row]) -> list[float]:
    values = harm.score_steps([row["prompt"] for row in rows], [row["steps"] for row in rows])
    return [row[-1] for row in values]
