"""benchmarks/harm_model_checks.py: its kinds are what they are called, and it tells a good V from one by words."""

from __future__ import annotations

import harm_model_checks
import pytest

from sear_core.data.oracle import category, step_levels


class Exact:
    """V is the oracle's level."""

    def score_steps(self, prompts, steps):
        return [[0.0, *step_levels(prompt, row)] for prompt, row in zip(prompts, steps, strict=True)]


class ByWords:
    """V is .8 from the third step on, whatever it says."""

    def score_steps(self, prompts, steps):
        return [[0.0] + [0.8 if n > 1 else 0.0 for n in range(len(row))] for row in steps]


def test_an_exact_v_explores_the_prompts_own_and_nothing_else():
    rows, apart = harm_model_checks.check(Exact(), count=30)
    found = {kind: (mean, explored, level) for kind, mean, explored, level in rows}
    assert apart == 1.0
    assert found.pop("its own exploration") == (1.0, 1.0, 1.0)
    assert found.pop("one step of it, eight times") == pytest.approx((1 / 3, 0.0, 1 / 3))
    assert len(found) == 5 and set(found.values()) == {(0.0, 0.0, 0.0)}


def test_a_v_by_words_is_found_out():
    rows, apart = harm_model_checks.check(ByWords(), count=30)
    assert apart == 0.5
    assert {row[0]: row[2] for row in rows}["another prompt's exploration"] == 1.0


def test_prompts_are_harmful_and_the_others_have_neither_their_action_nor_target():
    for prompt, own, other in harm_model_checks.pairs(30):
        assert category(prompt) == "harmful"
        assert own.action != other.action and own.target != other.target
