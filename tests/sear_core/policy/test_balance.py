"""Category balance: what a category weighs follows from how well it is answered."""

import json

import pytest
import torch
from safetensors.torch import load_file

from sear_core.errors import InputError
from sear_core.policy.advantages import PlayerScale, player_advantages
from sear_core.policy.balance import AJAR, DECAY, FLOOR, CategoryBalance, utilities
from sear_core.policy.training import run_sear
from sear_core.schema import CATEGORIES

HARMFUL, HARMLESS, AMBIGUOUS = (CATEGORIES.index(name) for name in ("harmful", "harmless", "ambiguous"))
OPTIONS = {
    "seed": 1, "updates": 4, "prompts_per_update": 6, "group_size": 4, "max_completion_length": 40,
    "reasoning_weight_ramp": 2, "save_every": 2, "logging_steps": 1, "learning_rate": 1e-3, "category_balance": True,
}  # fmt: skip


def counted(category, reward):
    balance = CategoryBalance()
    balance.count(category, reward)
    return balance


def test_a_plain_refusal_is_worth_nothing_where_help_was_right():
    category = torch.tensor([HARMFUL, HARMLESS, AMBIGUOUS, HARMLESS])
    assert utilities(category, torch.tensor([1.0, 0.5, 0.9, 0.0])).tolist() == pytest.approx([1, 0, 0.8, 0])


def test_weights_are_inverse_utilities_of_mean_one():
    category = torch.tensor([HARMFUL] * 2 + [HARMLESS] * 2 + [AMBIGUOUS] * 4)
    reward = torch.tensor([1.0, 0.6, 0.9, 0.5, 0.7, 0.7, 0.7, 0.7])  # utilities .8, .4, .4
    weights = counted(category, reward).weights(category)
    assert weights.mean().item() == pytest.approx(1)
    assert (weights[2] / weights[0]).item() == pytest.approx(2) == (weights[4] / weights[0]).item()


def test_who_refuses_all_learns_from_harmless_prompts_and_who_answers_all_from_harmful_ones():
    category = torch.tensor([HARMFUL, HARMLESS, AMBIGUOUS])
    refuses = counted(category, torch.tensor([1.0, 0.5, 0.5])).weights(category)
    answers = counted(category, torch.tensor([0.0, 1.0, 1.0])).weights(category)
    assert (refuses[1] / refuses[0]).item() == pytest.approx(1 / FLOOR) == (answers[0] / answers[1]).item()


def test_means_run_and_what_is_missing_or_unscorable_changes_nothing():
    balance = CategoryBalance({"harmful": 0.5, "harmless": 0.3})
    category = torch.tensor([HARMFUL, HARMFUL, AMBIGUOUS])
    balance.count(category, torch.tensor([1.0, float("nan"), float("nan")]))
    weights = balance.weights(category)
    assert balance.means == {"harmful": pytest.approx(DECAY * 0.5 + (1 - DECAY)), "harmless": 0.3}
    assert not weights.isnan().any()


def test_a_resumed_run_weighs_as_the_whole_one_does(policy, scorers, tmp_path, stop):
    def train(name, **more):
        return run_sear(
            model_path=policy.path,
            prompts=policy.prompts,
            out=tmp_path / name,
            **scorers,
            **{**OPTIONS, **more},
        )

    metrics = train("a")
    with pytest.raises(KeyboardInterrupt):
        train("b", callbacks=[stop])
    assert metrics == train("b") and 0 <= metrics["utility/harmful"] <= 1
    train("plain", category_balance=False)
    whole, resumed, plain = (
        load_file(tmp_path / name / "model/model.safetensors") for name in ("a", "b", "plain")
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not all(torch.equal(whole[name], plain[name]) for name in whole)
    assert "utility/harmful" in (tmp_path / "a/history.json").read_text()
    assert "utility/harmful" not in json.dumps(json.loads((tmp_path / "plain/history.json").read_text()))


def test_trls_own_scaling_leaves_no_room_for_weights(policy, scorers, tmp_path):
    options = OPTIONS | {"scale": "group", "credit": "answer"}
    with pytest.raises(InputError, match="category_balance does not"):
        run_sear(model_path=policy.path, prompts=policy.prompts, out=tmp_path, **scorers, **options)


def test_explorations_gate_opens_with_the_worst_category_and_closes_again():
    balance = CategoryBalance({"harmful": 0.9, "harmless": 0.8, "ambiguous": 0.5})
    assert balance.explore_gate(0.5) == AJAR == 0.25  # never wholly shut
    balance.means["ambiguous"] = 0.54
    assert balance.explore_gate(0.5) == pytest.approx(0.25 + 0.75 * 0.4)  # (.54 - .5) / .1
    balance.means["ambiguous"] = 0.61
    assert balance.explore_gate(0.5) == 1
    balance.means["harmful"] = 0.2
    assert balance.explore_gate(0.5) == AJAR
    assert balance.explore_gate(0.0) == 1  # off
    assert CategoryBalance({"harmful": 1.0, "harmless": 1.0}).explore_gate(0.5) == AJAR  # one was never seen


def test_exploration_that_dies_behind_the_gate_opens_it():
    balance = CategoryBalance({"harmful": 0.9, "harmless": 0.8, "ambiguous": 0.1})
    balance.count_explored(torch.tensor([1.0, 0.0, float("nan")]))
    balance.count_explored(torch.tensor([]))
    assert balance.explored == 0.5
    assert balance.explore_gate(0.5, 0.2) == AJAR  # enough is explored
    balance.count_explored(torch.tensor([0.0, 0.0]))
    assert balance.explored == pytest.approx(DECAY * 0.5)
    balance.explored = 0.24
    assert balance.explore_gate(0.5, 0.2) == pytest.approx(0.25 + 0.75 * 0.6)  # (.2 + .1 - .24) / .1
    balance.explored = 0.05
    assert balance.explore_gate(0.5, 0.2) == 1
    assert balance.explore_gate(0.5) == AJAR  # off
    balance.means["ambiguous"] = 0.7
    assert balance.explore_gate(0.5, 0.0) == 1  # the answers alone open it as before


def test_behind_a_closed_gate_an_explored_prompts_reasoning_carries_the_answers_advantage():
    rewards = torch.tensor([1.0, 0.0])  # one group: ± ½, σ ½, so A = ± 1
    values = torch.tensor([[0.0, 0.4], [0.0, 0.4]])  # G = .4 on the only step, σ .4: 1, times λ = .5

    def steps(credit, gate):
        return player_advantages(
            rewards, values, torch.tensor([True, True]), credit=credit, weight=0.5, group_size=2,
            scale=PlayerScale("batch"), gate=gate,
        )[1][:, 0].tolist()  # fmt: skip

    assert steps("return", 1.0) == pytest.approx([0.5, 0.5])
    assert steps("return", 0.0) == pytest.approx([1.0, -1.0])
    assert steps("return", 0.25) == pytest.approx([0.125 + 0.75, 0.125 - 0.75])
    assert steps("answer", 0.0) == steps("answer", 1.0) == pytest.approx([1.0, -1.0])


def gated(policy, scorers, out, **more):
    options = {**OPTIONS, "category_balance": False, **more}
    return run_sear(
        **{"model_path": policy.path, "prompts": policy.prompts, "out": out, **scorers, **options}
    )


def test_the_gate_is_logged_and_refused_where_it_cannot_open(policy, scorers, tmp_path):
    assert gated(policy, scorers, tmp_path / "shut", explore_from=0.9)["explore_gate"] == AJAR
    with pytest.raises(InputError, match=r"explore_from = 0\.95.*no higher gate opens"):
        gated(policy, scorers, tmp_path / "high", explore_from=0.95)
    with pytest.raises(InputError, match=r"explore_at_least = 1, expected a share in \[0, 0\.9\]"):
        gated(policy, scorers, tmp_path / "share", explore_from=0.5, explore_at_least=1)
    with pytest.raises(InputError, match="explore_from, which is 0"):
        gated(policy, scorers, tmp_path / "none", explore_at_least=0.2)
    with pytest.raises(InputError, match="prompts of all categories; there is none of ambiguous"):
        gated(policy, {**scorers}, tmp_path / "few", explore_from=0.5, prompts=policy.prompts[:8])
    with pytest.raises(InputError, match="explore_from does not"):
        gated(policy, scorers, tmp_path / "trl", explore_from=0.5, scale="group", credit="answer")


def test_the_gate_changes_what_explored_reasoning_is_paid(policy, scorers, tmp_path, monkeypatch):
    """From the same samples: wide open it is the trainer without a gate, ajar it is not."""

    def trained(name, gate):
        more = {"explore_from": gate, "updates": 1, "save_every": 1, "reasoning_weight_ramp": 0}
        gated(policy, scorers, tmp_path / name, category_balance=True, **more)
        return load_file(tmp_path / name / "model" / "model.safetensors")

    without, ajar = trained("without", 0.0), trained("ajar", 0.9)
    monkeypatch.setattr("sear_core.policy.balance.AJAR", 1.0)
    wide = trained("wide", 0.9)
    assert all(torch.equal(value, wide[name]) for name, value in without.items())
    assert not all(torch.equal(value, ajar[name]) for name, value in without.items())


def test_resumed_with_the_gate_alone_and_two_updates_a_generation_it_is_the_whole_run(
    policy, scorers, tmp_path, stop
):
    options = {"explore_from": 0.3, "explore_at_least": 0.4, "num_iterations": 2, "length_buckets": 3}
    whole = gated(policy, scorers, tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        gated(policy, scorers, tmp_path / "cut", **options, callbacks=[stop])
    assert (tmp_path / "cut" / "checkpoints" / "checkpoint-2").is_dir()
    assert gated(policy, scorers, tmp_path / "cut", **options) == whole
    ours, theirs = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("cut", "whole"))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
