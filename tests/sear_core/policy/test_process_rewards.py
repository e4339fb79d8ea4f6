import math
import sys
from types import ModuleType

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sear_core.chat_format import render_prompt
from sear_core.errors import InputError
from sear_core.policy.frozen import FrozenModels, build_process_reward
from sear_core.policy.process_rewards import (
    ForcedAnswerReward,
    HarmModelReward,
    TargetLogprobReward,
    check_name,
    checked_values,
    load_plug_in,
    plug_in_file,
)
from sear_core.policy.prover import Prover
from sear_core.policy.training import run_sear

QUESTIONS = ["wreck a mill?", "kill a boat?", "fold a lamp?"]
STEPS = [["bad plan.", "bad way.", "stop."], [], ["go on."]]


class Rows:
    def __init__(self, rows):
        self.rows = rows

    def values(self, prompts, steps):
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


@pytest.fixture(scope="module")
def provers(policy):
    """(cached, uncached) on one model."""
    model = AutoModelForCausalLM.from_pretrained(policy.path)
    tokenizer = AutoTokenizer.from_pretrained(policy.path, padding_side="left")
    return Prover(model, tokenizer), Prover(model, tokenizer, cached=False)


def test_nan_and_wrong_lengths_are_unscorable_not_zero_and_said(caplog):
    reward = Rows([[0.1, 0.2], [0.1, math.nan], [0.1], None, [0.0, 0.5]])
    expected = [[0.1, 0.2], None, None, None, [0.0, 0.5]]
    assert checked_values(reward, ["p"] * 5, [["z"]] * 5) == expected
    assert "2 values, not all finite" in caplog.text
    checked_values(Rows([[0.5]]), ["p"], [["a", "b"]])
    assert "1 values, expected K + 1 = 3" in caplog.text


def test_a_failing_process_reward_is_named():
    with pytest.raises(RuntimeError, match="process reward Rows failed on 1 reasonings: OSError: boom"):
        checked_values(Rows(OSError("boom")), ["p"], [["z"]])
    with pytest.raises(RuntimeError, match="returned 0 rows, expected 1"):
        checked_values(Rows([]), ["p"], [["z"]])


def test_other_names_say_what_exists_and_what_is_near():
    for name in ("harm_model", "forced_answer", "target_logprob", "ours:Reward"):
        check_name(name)
    with pytest.raises(
        InputError, match=r"did you mean 'harm_model'\?\); there are harm_model, forced_answer"
    ):
        check_name("harm_mode")
    with pytest.raises(InputError, match="'ours:': no such process reward; there are"):
        check_name("ours:")


def test_ones_own_process_reward_is_loaded_by_name(monkeypatch):
    module = ModuleType("our_rewards")
    module.constant = Rows([[1.0]])
    module.number = 3
    monkeypatch.setitem(sys.modules, "our_rewards", module)
    assert load_plug_in("our_rewards:constant") is module.constant
    with pytest.raises(InputError, match="has no method values"):
        load_plug_in("our_rewards:number")
    with pytest.raises(InputError, match="cannot be imported"):
        load_plug_in("our_rewards:absent")


def test_a_plug_in_is_looked_for_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_steps.py").write_text("raise OSError\nclass Constant:\n    pass\n")
    assert plug_in_file("my_steps:Constant") == tmp_path / "my_steps.py"  # found, not run
    with pytest.raises(InputError, match=r"my_steps.py defines no 'Constants'; did you mean 'Constant'\?"):
        plug_in_file("my_steps:Constants")
    with pytest.raises(InputError, match="there is no module 'my_step' on Python's path"):
        plug_in_file("my_step:Constant")
    (tmp_path / "broken_steps.py").write_text("class Constant\n")
    with pytest.raises(InputError, match=r"broken_steps.py, line 1: expected ':'"):
        plug_in_file("broken_steps:Constant")


def test_cached_prefixes_give_the_answers_of_prefixes_read_one_by_one(provers):
    cached, alone = provers
    options = {"samples": 1, "max_new_tokens": 12, "temperature": 0.0}
    found = cached.answers(QUESTIONS, STEPS, **options)
    assert found == alone.answers(QUESTIONS, STEPS, **options)
    assert [len(row) for row in found] == [4, 1, 2]
    # ... and those of transformers' own generation from the joined text
    text = render_prompt(cached.tokenizer, QUESTIONS[0]) + "bad plan.\nbad way.\n</think>\n"
    inputs = cached.tokenizer(text, return_tensors="pt")
    ids = cached.model.generate(**inputs, max_new_tokens=12, do_sample=False)[
        0, inputs["input_ids"].size(1) :
    ]
    assert found[0][2] == [cached.tokenizer.decode(ids, skip_special_tokens=True).strip()]


def test_answers_are_sampled_m_at_a_time_and_repeat_with_the_seed(provers):
    cached, _ = provers
    options = {"samples": 6, "max_new_tokens": 12, "temperature": 1.5}
    torch.manual_seed(3)
    one = cached.answers(QUESTIONS, STEPS, **options)
    assert all(len(after) == 6 for row in one for after in row)
    assert len({answer for row in one for after in row for answer in after}) > 2
    torch.manual_seed(3)
    assert cached.answers(QUESTIONS, STEPS, **options) == one


def test_a_targets_log_probability_is_that_of_a_plain_forward_pass(provers):
    cached, alone = provers
    targets = ["Yes, do it.", "No.", "Yes."]
    found = cached.log_probabilities(QUESTIONS, STEPS, targets)
    for one, other in zip(found, alone.log_probabilities(QUESTIONS, STEPS, targets), strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    tokenizer, model = cached.tokenizer, cached.model
    before = tokenizer(render_prompt(tokenizer, QUESTIONS[0]) + "bad plan.\n</think>\n")["input_ids"]
    target = tokenizer(targets[0])["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([before + target])).logits[0, len(before) - 1 : -1]
    scores = logits.log_softmax(-1).gather(1, torch.tensor(target).unsqueeze(1))
    assert found[0][1] == pytest.approx(scores.mean().item(), abs=1e-5)


def test_what_does_not_fit_is_unscorable_and_the_others_are_not(provers):
    cached, _ = provers  # 256 positions
    found = cached.log_probabilities(QUESTIONS, [["bad way. " * 200], [], ["go on."]], ["Yes."] * 3)
    assert found[0] is None and len(found[1]) == 1 and len(found[2]) == 2


def test_forced_answers_are_valued_by_their_mean_harm(scorers):
    class Two:
        def answers(self, prompts, steps, **options):
            assert options == {"samples": 2, "max_new_tokens": 8, "temperature": 0.7}
            return [[["Yes.", "No."], ["Yes.", "Yes."]], None]

    reward = ForcedAnswerReward(Two(), scorers["harm"], samples=2, max_new_tokens=8, temperature=0.7)
    # .8 for "Yes", .05 for "No": (.8 + .05) / 2 and .8
    assert reward.values(["p", "q"], [["z"], ["z"]]) == [pytest.approx([0.425, 0.8]), None]


def test_a_target_is_the_prompts_own_or_the_default():
    class Echo:
        def log_probabilities(self, prompts, steps, targets):
            return targets

    assert TargetLogprobReward(Echo(), {"p": "Yes."}, "Sure.").values(["p", "q"], [[], []]) == [
        "Yes.",
        "Sure.",
    ]


@pytest.mark.parametrize("name", ["forced_answer", "target_logprob", "test_plug_in:Reward"])
def test_a_policy_trains_with_every_process_reward(policy, scorers, tmp_path, monkeypatch, name):
    module = ModuleType("test_plug_in")
    module.Reward = type("Reward", (), {"values": lambda self, p, s: [[0.0] + [0.7] * len(row) for row in s]})
    monkeypatch.setitem(sys.modules, "test_plug_in", module)
    metrics = run_sear(
        model_path=policy.path, prompts=policy.prompts, out=tmp_path, **scorers, seed=1, updates=1,
        prompts_per_update=6, group_size=4, max_completion_length=40, process_reward=name, forced_answers=2,
        forced_answer_tokens=6,
    )  # fmt: skip
    assert metrics["reward/unscorable"] == 0
    if name == "forced_answer":  # the prover writes "Yes" (.8) or "No" (.05) about evenly
        assert 0 <= metrics["exploration_rate/harmful"] <= 1 and metrics["reward/step_std"] > 0.1
    elif name == "target_logprob":
        assert metrics["exploration_rate/harmful"] == 0  # "Sure, …" is not what it writes
    else:
        assert metrics["exploration_rate/harmful"] == 1 and metrics["reward/reasoning"] == pytest.approx(0.7)


def test_the_harm_model_is_the_default(scorers):
    models = FrozenModels()
    assert isinstance(build_process_reward("harm_model", scorers["harm"], models, "nowhere"), HarmModelReward)
