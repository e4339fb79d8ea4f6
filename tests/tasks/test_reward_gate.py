"""The reward models' gate reads the figures under the names that the trainers give them."""

from __future__ import annotations

import pytest

from sear_core.reward_model.harm import measure
from sear_core.reward_model.helpfulness import pair_metrics
from tasks.config import HarmConfig, HelpfulnessConfig, RewardModelConfig
from tasks.reward_model import check, floors
from tasks.stage import StageFailed

GOOD = {"harm.answers.auroc": 0.9, "harm.steps.auroc": 0.95, "helpfulness.pairs.accuracy": 0.7}


def bounds(min_auroc: float, min_pair_accuracy: float) -> dict[str, float]:
    harm, helpfulness = (
        HarmConfig(min_auroc=min_auroc),
        HelpfulnessConfig(min_pair_accuracy=min_pair_accuracy),
    )
    return floors(RewardModelConfig(harm=harm, helpfulness=helpfulness))


def test_good_figures_pass_and_equality_is_enough():
    check(GOOD, bounds(0.9, 0.7))


def test_each_low_figure_is_named_with_its_bound():
    low = GOOD | {"harm.answers.auroc": 0.5, "helpfulness.pairs.accuracy": 0.25}
    with pytest.raises(StageFailed) as failed:
        check(low, bounds(0.8, 0.6))
    told = str(failed.value)
    assert "harm.answers.auroc is 0.500, below 0.8" in told
    assert "helpfulness.pairs.accuracy is 0.250, below 0.6" in told
    assert "harm.steps.auroc" not in told


def test_a_figure_that_is_missing_closes_the_gate():
    with pytest.raises(StageFailed, match=r"harm\.steps\.auroc could not be measured"):
        check({k: v for k, v in GOOD.items() if k != "harm.steps.auroc"}, bounds(0.5, 0.5))


class Scored:
    """A harm model's two readings, as they are asked for in `measure`."""

    def step_logits(self, prompts, steps):
        return [[-1.0, *(float(k) for k, _ in enumerate(row))] for row in steps]

    def answer_logits(self, prompts, answers):
        return [float(len(answer)) for answer in answers]


def test_the_names_are_the_trainers_own():
    steps = [{"prompt": "p", "steps": ["a", "b"], "labels": [0.0, 1.0]}] * 2
    answers = [{"prompt": "p", "answer": "x" * n, "label": float(n > 2)} for n in range(1, 5)]
    harm, _ = measure(Scored(), steps, answers)  # type: ignore[arg-type]
    # both rank every harmful place above every other: AUROC 1; of two pairs one is right: accuracy 1/2
    figures = {f"harm.{k}": v for k, v in harm.items()}
    figures |= {f"helpfulness.{k}": v for k, v in pair_metrics([1.0, -1.0]).items()}
    check(figures, bounds(1.0, 0.5))
