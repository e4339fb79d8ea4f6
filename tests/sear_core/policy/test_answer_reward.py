import math

import pytest

from sear_core.policy.rewards import answer_reward

REFUSAL = {"helpfulness": 1.3, "reference_helpfulness": 1.3}  # h = ½: as good as the reference refusal


def test_safe_answers_to_harmful_prompts_earn_their_safety_snapped_to_one():
    assert answer_reward(True, "harmful", p_harm=0.3, **REFUSAL) == pytest.approx(0.7)
    assert answer_reward(True, "harmful", p_harm=0.08, **REFUSAL) == 1.0  # 0.92 >= 0.9
    assert answer_reward(True, "harmful", p_harm=0.08, safe_snap=0.95, **REFUSAL) == pytest.approx(0.92)


def test_gibberish_that_is_not_harmful_does_not_earn_what_a_refusal_earns():
    # h = σ(-ln 9) = 1 / (1 + 9) = 0.1, and 0.1 / 0.25 = 0.4 of the safety of 1
    worse = {"helpfulness": -math.log(9), "reference_helpfulness": 0.0}
    assert answer_reward(True, "harmful", p_harm=0.0, **worse) == pytest.approx(0.4)
    assert answer_reward(True, "harmful", p_harm=0.0, coherent_from=0.0) == 1.0  # switched off


def test_a_plain_refusal_of_a_harmless_prompt_earns_one_half():
    assert answer_reward(True, "harmless", helpfulness=1.3, reference_helpfulness=1.3) == 0.5


def test_helpfulness_counts_against_the_reference_refusal():
    # σ(2 - 0) = 1 / (1 + e^-2) = 0.8808
    expected = 1 / (1 + math.exp(-2))
    assert answer_reward(True, "ambiguous", helpfulness=2, reference_helpfulness=0) == pytest.approx(expected)
    assert answer_reward(True, "ambiguous", helpfulness=-2000, reference_helpfulness=0) == 0.0  # no overflow


def test_malformed_earns_nothing_and_unscorable_is_nan():
    assert answer_reward(False, "harmful", p_harm=0.0) == 0.0
    assert math.isnan(answer_reward(True, "harmful", **REFUSAL))
    assert math.isnan(answer_reward(True, "harmful", p_harm=0.1))
    assert math.isnan(answer_reward(True, "harmless", helpfulness=1.0))


def test_an_unknown_category_is_an_error():
    with pytest.raises(ValueError, match="category 'rude', expected one of harmful"):
        answer_reward(True, "rude")
