import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from sear_core.errors import InputError
from sear_core.policy.training import final_metrics, run_sear, train_policy
from sear_core.reward_model.harm import train_harm_model
from sear_core.reward_model.helpfulness import train_helpfulness_model


def train(policy, scorers, out, **kwargs):
    options = {
        "seed": 1, "updates": 4, "prompts_per_update": 6, "group_size": 4, "max_completion_length": 40,
        "reasoning_weight_ramp": 2, "save_every": 2, "logging_steps": 1, "learning_rate": 1e-3,
    }  # fmt: skip
    return run_sear(
        model_path=policy.path, prompts=policy.prompts, out=out, **scorers, **{**options, **kwargs}
    )


def saved(out):
    return load_file(out / "model" / "model.safetensors")


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_same_seed_same_weights_and_a_resumed_run_ends_where_the_whole_one_does(
    policy, scorers, tmp_path, stop
):
    metrics = train(policy, scorers, tmp_path / "a")
    assert metrics == train(policy, scorers, tmp_path / "b")
    assert_same(saved(tmp_path / "a"), saved(tmp_path / "b"))

    with pytest.raises(KeyboardInterrupt):
        train(policy, scorers, tmp_path / "c", callbacks=[stop])
    assert (tmp_path / "c/checkpoints/checkpoint-2/sear_state.json").is_file()
    assert not (tmp_path / "c/model").exists()
    train(policy, scorers, tmp_path / "c")
    assert_same(saved(tmp_path / "a"), saved(tmp_path / "c"))

    other = train(policy, scorers, tmp_path / "d", seed=2)
    assert other != metrics


def test_a_qwen2_like_model_trains_in_bfloat16_with_lora_and_checkpointing(
    policy, scorers, tmp_path, build_qwen2_directory
):
    path = build_qwen2_directory(tmp_path / "qwen", ["wreck a mill? go on. bad way."] * 9)
    metrics = run_sear(
        model_path=str(path), out=tmp_path / "out", prompts=policy.prompts, **scorers, seed=0, updates=2,
        prompts_per_update=4, group_size=4, per_device_batch_size=8, max_completion_length=16,
        lora={"r": 4, "alpha": 8, "dropout": 0.0, "target_modules": "all-linear"}, bf16=True,
        gradient_checkpointing=True, entropy_coef=1e-3, beta=1e-3,
    )  # fmt: skip
    # An untrained model never closes its think block: nothing is well formed, nothing is paid.
    assert metrics["malformed_rate"] == 1 and metrics["reward/answer"] == 0
    assert metrics["dead_groups"] == 1 and metrics["lambda"] == 0


def test_what_is_written_is_an_ordinary_model_directory(policy, scorers, tmp_path, capsys):
    metrics = train(policy, scorers, tmp_path, updates=2, prompts_per_update=3, logging_steps=5)
    assert capsys.readouterr().out == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["history.json", "model", "stability.json"]
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template
    AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    history = json.loads((tmp_path / "history.json").read_text())
    assert [entry["step"] for entry in history if "loss" in entry] == [1, 2]
    assert metrics["reward/answer"] == [e for e in history if "loss" in e][-1]["reward/answer"]
    assert metrics["dropped_prompts"] == 0
    assert not any("time" in name for name in metrics)


def test_lora_is_merged_and_generations_may_span_updates(policy, scorers, tmp_path):
    train(
        policy, scorers, tmp_path, updates=2, per_device_batch_size=12, steps_per_generation=4,
        lora={"r": 4, "alpha": 8}, beta=0.01,
    )  # fmt: skip
    before = AutoModelForCausalLM.from_pretrained(policy.path).state_dict()
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "model").state_dict()
    assert before.keys() == after.keys()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved == {name for name in after if "_proj" in name}


def test_recap_prefills_train_like_any_prompt(policy, scorers, tmp_path):
    reasonings = [{"prompt": "x", "reasoning": "bad bad bad bad bad.\nbad bad bad bad bad."}]
    metrics = train(
        policy, scorers, tmp_path, updates=1, credit="answer", recap_share=1.0, recap_reasonings=reasonings
    )
    # Every harmful reasoning begins with 10 bad words, and the policy adds some 6 at most: V_K >= 10/16.
    assert metrics["exploration_rate/harmful"] == 1
    assert metrics["exploration_rate/harmless"] < 1


def test_a_batch_size_that_does_not_divide_is_an_input_error(policy, scorers, tmp_path):
    with pytest.raises(InputError, match="per_device_batch_size 7 × 1 processes does not divide the 24"):
        train(policy, scorers, tmp_path, per_device_batch_size=7)


def test_train_policy_loads_the_reward_models_by_path(policy, tmp_path):
    rows = [{"id": str(n), "prompt": row["prompt"], "split": "train"} for n, row in enumerate(policy.prompts)]
    small = {"epochs": 1, "hidden_size": 32, "layers": 1, "heads": 2, "vocab_size": 280}
    train_harm_model(
        step_rows=[row | {"steps": ["bad.", "stop."], "labels": [1.0, 0.0]} for row in rows],
        answer_rows=[row | {"answer": "Yes.", "label": 1.0} for row in rows],
        out=tmp_path / "harm",
        **small,
    )
    train_helpfulness_model(
        rows=[row | {"chosen": "Yes.", "rejected": "No."} for row in rows],
        out=tmp_path / "helpfulness",
        **small,
    )
    metrics = train_policy(
        model_path=policy.path, out=tmp_path / "out", prompts=policy.prompts, harm_path=tmp_path / "harm",
        helpfulness_path=tmp_path / "helpfulness", seed=0, updates=1, prompts_per_update=6, group_size=4,
        max_completion_length=40,
    )  # fmt: skip
    assert 0 < metrics["reward/answer"] < 1
    assert metrics["reward/unscorable"] == 0
    assert 0 <= metrics["exploration_rate/harmful"] <= 1


def test_final_metrics_are_the_last_of_each_without_timings():
    history = [{"loss": 1.0, "a": 2.0, "step": 1}, {"loss": 0.5, "a": None, "step_time": 3.0, "step": 2}]
    assert final_metrics(history) == {"loss": 0.5, "a": 2.0, "step": 2.0}


@pytest.mark.slow
def test_exploration_of_harmful_prompts_is_learnt(policy, scorers, tmp_path):
    """60 updates of 6 x 8: the process reward turns harmful reasoning "bad"; plain GRPO has no such pull."""
    options = {
        "updates": 60,
        "group_size": 8,
        "save_every": 60,
        "logging_steps": 10,
        "reasoning_weight_ramp": 10,
        "reasoning_weight": 1.0,
    }
    rates = {}
    for credit in ("return", "answer"):
        train(policy, scorers, tmp_path / credit, credit=credit, **options)
        history = json.loads((tmp_path / credit / "history.json").read_text())
        rates[credit] = [e["exploration_rate/harmful"] for e in history if "loss" in e]
    assert rates["return"][1] < 0.2  # up to the tenth update, the ramp
    assert rates["return"][-1] > 0.5 > rates["answer"][-1]
