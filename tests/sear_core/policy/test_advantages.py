import math

import pytest
import torch
from torch import tensor

from sear_core.policy.advantages import (
    PlayerScale,
    centre_in_group,
    dead_groups,
    final_values,
    player_advantages,
    reasoning_weight,
    step_credits,
    token_advantages,
)
from sear_core.policy.segments import ANSWER, PADDING

NAN = math.nan


def close(a, b):
    torch.testing.assert_close(a, tensor(b), equal_nan=True, atol=1e-6, rtol=1e-6)


def test_the_final_value_is_the_last_one_there():
    close(final_values(tensor([[0.1, 0.2, NAN], [0.1, 0.2, 0.7], [NAN, NAN, NAN]])), [0.2, 0.7, NAN])


def test_return_credits_what_is_still_to_come():
    # V = .1, .4, .3, .8: G = .8-.1, .8-.4, .8-.3
    close(step_credits(tensor([[0.1, 0.4, 0.3, 0.8]]), "return", 1), [[0.7, 0.4, 0.5]])


def test_null_steps_earn_nothing():
    plain = step_credits(tensor([[0.1, 0.5, NAN, NAN]]), "return", 1)
    padded = step_credits(tensor([[0.1, 0.5, 0.5, 0.5]]), "return", 1)
    close(plain, [[0.4, NAN, NAN]])
    close(padded, [[0.4, 0.0, 0.0]])


def test_null_steps_do_not_change_the_others_under_return():
    alone = tensor([[0.0, 0.2, 0.6, NAN], [0.0, 0.4, NAN, NAN]])
    padded = tensor([[0.0, 0.2, 0.6, 0.6], [0.0, 0.4, NAN, NAN]])
    there = ~alone[:, 1:].isnan()
    assert torch.equal(step_credits(alone, "return", 2)[there], step_credits(padded, "return", 2)[there])


def test_outcome_gives_every_step_the_whole_gain():
    close(step_credits(tensor([[0.1, 0.4, 0.9, NAN]]), "outcome", 1), [[0.8, 0.8, NAN]])


def test_step_and_level_are_centred_over_all_steps_of_the_group():
    values = tensor([[0.0, 0.2, 0.6], [0.0, 0.4, NAN]])
    # level: .2 .6 .4, mean .4; step: .2 .4 .4, mean 1/3
    close(step_credits(values, "level", 2), [[-0.2, 0.2], [0.0, NAN]])
    close(step_credits(values, "step", 2), [[-2 / 15, 1 / 15], [1 / 15, NAN]])


def test_groups_are_centred_on_their_own_and_nan_does_not_count():
    close(centre_in_group(tensor([0.0, 1.0, 0.5, NAN]), 2), [-0.5, 0.5, 0.0, NAN])


def test_sigma_is_a_root_mean_square_with_a_floor():
    scale = PlayerScale("batch", floor=0.1)
    assert scale.sigma("answer", tensor([0.3, -0.4, NAN])) == pytest.approx(math.sqrt((0.09 + 0.16) / 2))
    assert scale.sigma("answer", tensor([0.01, -0.01])) == 0.1


def test_running_sigma_remembers_and_absence_changes_nothing():
    scale = PlayerScale("running", floor=0.1, decay=0.9)
    assert scale.sigma("r", tensor([1.0])) == pytest.approx(1.0)
    assert scale.sigma("r", tensor([2.0])) == pytest.approx(math.sqrt(0.9 * 1 + 0.1 * 4))
    assert scale.sigma("r", tensor([NAN])) == pytest.approx(math.sqrt(1.3))
    assert scale.sigma("other", tensor([NAN])) == 0.1
    resumed = PlayerScale("running", 0.1, 0.9, dict(scale.mean_squares))
    assert resumed.sigma("r", tensor([3.0])) == scale.sigma("r", tensor([3.0]))


def test_dead_groups_are_those_without_variance():
    # a spread of .001 is a deviation of .0005 < .01
    assert dead_groups(tensor([0.5, 0.501, 0.0, 1.0, NAN, NAN]), 2).tolist() == [True, False, True]


def test_lambda_rises_and_sinks_with_dead_groups_that_fail():
    alive, failing, succeeding = [0.0, 1.0], [0.5, 0.5], [1.0, 1.0]
    assert reasoning_weight(0.5, 0, 0, tensor(alive), 2) == 0.5
    assert reasoning_weight(0.5, 10, 4, tensor(alive), 2) == pytest.approx(0.2)  # .5 · 4/10
    assert reasoning_weight(0.5, 10, 99, tensor(alive + failing), 2) == pytest.approx(0.25)  # half are stuck
    assert reasoning_weight(0.5, 0, 0, tensor(alive + succeeding), 2) == 0.5


def advantages(credit, **kwargs):
    """Two groups of two: the first harmful (explored), the second not; σ is the floor, 1."""
    return player_advantages(
        tensor([1.0, 0.0, 0.8, 0.4]),
        tensor([[0.0, 0.5, 0.8], [0.0, 0.2, NAN], [0.1, 0.1, 0.1], [0.1, 0.1, 0.1]]),
        tensor([True, True, False, False]),
        credit=credit,
        weight=0.5,
        group_size=2,
        scale=PlayerScale("batch", floor=kwargs.pop("floor", 1.0)),
    )


def test_explored_reasoning_is_paid_its_credit_and_the_rest_follows_the_answer():
    answers, steps = advantages("return")
    close(answers, [0.5, -0.5, 0.2, -0.2])
    # λ = .5: G = .8 .3 | .2 and no second step | A, whole
    close(steps, [[0.4, 0.15], [0.1, 0.0], [0.2, 0.2], [-0.2, -0.2]])


def test_each_player_has_its_own_sigma():
    answers, steps = advantages("return", floor=0.01)
    sigma_answer = math.sqrt((0.25 + 0.25 + 0.04 + 0.04) / 4)
    sigma_reasoning = math.sqrt((0.64 + 0.09 + 0.04) / 3)
    assert answers[0].item() == pytest.approx(0.5 / sigma_answer)
    assert steps[0, 0].item() == pytest.approx(0.5 * 0.8 / sigma_reasoning)
    assert steps[2, 0].item() == pytest.approx(0.2 / sigma_answer)


def test_plain_grpo_broadcasts_the_answers_advantage_unweighted():
    answers, steps = advantages("answer")
    assert torch.equal(steps, answers.unsqueeze(1).expand(-1, 2))


def test_sum_is_one_scalar_of_both_rewards():
    answers, steps = advantages("sum")
    # r + .5 · (V_K - V_0) = 1.4, .1 (explored), .8, .4: less the group means .75 and .6
    close(answers, [0.65, -0.65, 0.2, -0.2])
    assert torch.equal(steps, answers.unsqueeze(1).expand(-1, 2))


def test_unscorable_reasoning_is_paid_nothing():
    answers, steps = player_advantages(
        tensor([1.0, NAN]),
        tensor([[NAN, NAN], [0.0, 1.0]]),
        tensor([True, True]),
        credit="return",
        weight=1.0,
        group_size=2,
        scale=PlayerScale("batch", floor=1.0),
    )
    close(answers, [0.0, 0.0])
    close(steps, [[0.0], [1.0]])


def test_every_token_gets_its_players_advantage():
    players = tensor([[0, 0, 1, ANSWER], [ANSWER, ANSWER, PADDING, PADDING]])
    result = token_advantages(players, tensor([3.0, -2.0]), tensor([[0.1, 0.2], [9.0, 9.0]]))
    close(result, [[0.1, 0.1, 0.2, 3.0], [-2.0, -2.0, 0.0, 0.0]])
