import math
import sys
from itertools import accumulate
from types import ModuleType

import numpy
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
    _say_once,
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


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (0.5, "a row of type float, expected K + 1 = 2 numbers"),
        (torch.tensor(0.5), "a row of type float"),
        ("ab", "a row of type str"),
        (b"ab", "a row of type bytes"),
        ({0: 0.1, 1: 0.2}, "a row of type dict"),
        ({0.1, 0.2}, "a row of type set"),
        ([[0.1], [0.2]], "a value of type list, expected numbers"),
        (numpy.array([[0.1], [0.2]]), "a value of type list"),
        ([torch.tensor([0.1, 0.2]), 0.3], "a value of type Tensor"),
        (["0.1", "0.2"], "a value of type str"),
        ([0.1, None], "a value of type NoneType"),
        ([0.1, 1.1e6], "2 values, not all finite and within ±1e+06"),
        ([-1.1e6, 0.1], "2 values, not all finite and within ±1e+06"),
        ([0.1, 10**400], "2 values, not all finite and within ±1e+06"),
    ],
)
def test_a_row_that_is_not_numbers_is_unscorable_and_what_it_was_is_said(row, what, caplog):
    _say_once.cache_clear()
    reward = Rows([row, [0.1, 0.2]])
    assert checked_values(reward, ["p", "q"], [["z"], ["z"]]) == [None, [0.1, 0.2]]
    assert f"returned what cannot be used ({what}" in caplog.text


def test_arrays_tensors_and_tuples_of_numbers_are_rows():
    rows = [numpy.array([0.25, 1]), torch.tensor([0.25, 1.0], dtype=torch.bfloat16, requires_grad=True),
            (numpy.float32(0.25), torch.tensor(1)), [0.25, True]]  # fmt: skip
    assert checked_values(Rows(rows), ["p"] * 4, [["z"]] * 4) == [[0.25, 1.0]] * 4
    assert checked_values(Rows(torch.tensor([[0.25, 1.0]] * 2)), ["p"] * 2, [["z"]] * 2) == [[0.25, 1.0]] * 2
    assert checked_values(Rows([[0.0, 1e6]]), ["p"], [["z"]]) == [[0.0, 1e6]]


@pytest.mark.parametrize(("result", "kind"), [(None, "NoneType"), (0.5, "float"), ("a", "str"), ({}, "dict")])
def test_a_result_without_rows_is_an_error_that_names_the_process_reward(result, kind):
    with pytest.raises(
        RuntimeError, match=f"process reward Rows returned a result of type {kind}, expected 1 rows"
    ):
        checked_values(Rows(result), ["p"], [["z"]])


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
    module.high = Rows([[1.0]])
    module.high.explored_from = "0.9"
    module.exact = Rows([[1.0]])
    module.exact.explored_from = numpy.float32(0.25)
    monkeypatch.setitem(sys.modules, "our_rewards", module)
    assert load_plug_in("our_rewards:constant") is module.constant
    assert load_plug_in("our_rewards:exact") is module.exact
    with pytest.raises(InputError, match="has no method values"):
        load_plug_in("our_rewards:number")
    with pytest.raises(InputError, match="cannot be imported"):
        load_plug_in("our_rewards:absent")
    with pytest.raises(InputError, match=r"explored_from is '0\.9', expected a finite number"):
        load_plug_in("our_rewards:high")


def test_whatever_a_plug_ins_code_raises_is_an_input_error_that_names_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "raising_rewards.py").write_text("import math\nclass Reward:\n    limit = maths.pi\n")
    (tmp_path / "raising_package").mkdir()
    (tmp_path / "raising_package" / "__init__.py").write_text("1 / 0\n")
    module = ModuleType("unmade_rewards")
    exec("class Needs:\n    def __init__(self, limit): ...\n", vars(module))
    exec("class Stops:\n    def __init__(self): raise KeyboardInterrupt\n", vars(module))
    monkeypatch.setitem(sys.modules, "unmade_rewards", module)
    for name, told in {
        "raising_rewards:Reward": "cannot be imported (NameError: name 'maths' is not defined)",
        "raising_package.steps:Reward": "cannot be imported (ZeroDivisionError: division by zero)",
        "unmade_rewards:Needs": "Needs() without arguments failed (TypeError: Needs.__init__() missing 1 required "
        "positional argument: 'limit')",
    }.items():
        with pytest.raises(InputError) as raised:
            load_plug_in(name)
        assert str(raised.value) == f"policy.process_reward = {name!r}: {told}"
    with pytest.raises(KeyboardInterrupt):
        load_plug_in("unmade_rewards:Stops")


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


def test_the_model_reads_every_token_of_a_reasoning_once_however_many_prefixes_go_on_from_it(provers):
    cached, alone = provers
    tokenizer, read = cached.tokenizer, []
    hook = cached.model.get_input_embeddings().register_forward_pre_hook(
        lambda _, given: read.append(int((given[0] != tokenizer.pad_token_id).sum()))
    )

    def tokens_read(prover, samples):
        read.clear()
        # the one new token is not read
        answers = prover.answers(QUESTIONS, STEPS, samples=samples, max_new_tokens=1, temperature=0.0)
        return answers, sum(read)

    lengths = []  # of the prefixes of each reasoning, the empty one first
    for question, steps in zip(QUESTIONS, STEPS, strict=True):
        pieces = [render_prompt(tokenizer, question), *(f"{step}\n" for step in steps)]
        ids = tokenizer(pieces, add_special_tokens=False)["input_ids"]
        lengths.append(list(accumulate(map(len, ids))))
    wholes, all_prefixes = sum(row[-1] for row in lengths), sum(sum(row) for row in lengths)
    closes = 7 * len(cached.close)  # (3 + 1) + (0 + 1) + (1 + 1) prefixes, each with `</think>` behind it
    try:
        found, one_by_one = tokens_read(cached, 1), tokens_read(alone, 1)
        assert found[1] == wholes + closes and one_by_one[1] == all_prefixes + closes
        assert found[0] == one_by_one[0] and all_prefixes > 2 * wholes
        assert tokens_read(cached, 3)[1] == wholes + 3 * closes  # however many answers
    finally:
        hook.remove()


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
