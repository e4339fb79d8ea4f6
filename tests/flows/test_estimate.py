"""`sear plan --estimate`: the formulas, on numbers that can be done by hand."""

import pytest

from flows import estimate as e
from flows.config import load_config
from sear_core.errors import InputError
from tasks.workspace import Workspace

ROUND = e.GPU("round", flops=1e12, bandwidth=1e9, memory=80e9, price=2.0)
GIVEN = e.Assumptions(
    training_use=0.5, scoring_use=0.5, bandwidth_use=0.5, length_share=0.5, prompt_share=0.5
)
SIZE = e.Size("1B", 1e9, layers=10, cache=1000.0)


def settings(*sets: str):
    own = ["policy.updates=10", "policy.prompts_per_update=4", "policy.group_size=2", "policy.max_prompt_length=100",
           "policy.max_completion_length=200", "policy.num_iterations=1", "warm_start.epochs=2",
           "warm_start.max_length=100"]  # fmt: skip
    return load_config("smoke", sets=[*own, *sets])


def test_training_costs_six_flops_a_parameter_and_token_and_four_with_lora():
    rows = {"warm_start": 360}
    asked = e.work(settings(), rows, GIVEN)
    assert asked.warm_start_tokens == 360 * 2 * 0.5 * 100
    # 6 · 1e9 · 36,000 flops at half of 1e12 a second
    assert e.hours(settings(), SIZE, ROUND, asked, GIVEN)["gpu_hours"]["warm_start"] == pytest.approx(
        432 / 3600
    )
    lora = settings("policy.lora.r=8", "warm_start.train=false")
    found = e.hours(lora, SIZE, ROUND, e.work(lora, rows, GIVEN), GIVEN)["gpu_hours"]
    assert found["warm_start"] == 0
    # 2 arms · 4 · 1e9 · 10 updates · 8 completions · (50 + 100) tokens
    assert found["policy: training"] == pytest.approx(2 * 4e9 * 10 * 8 * 150 / 0.5e12 / 3600)


def test_a_decoding_step_reads_the_weights_or_is_bound_by_flops_or_by_its_overhead():
    # (2e9 bytes + 8 sequences · 1,000 bytes · 50 tokens on average) at half of 1e9 bytes a second
    assert e.decoding_seconds(SIZE, ROUND, 1, 8, 100, 0.0, GIVEN) == pytest.approx(
        (2e9 + 8 * 1000 * 50) / 0.5e9
    )
    assert e.decoding_seconds(SIZE, ROUND, 4, 8, 100, 0.0, GIVEN) == pytest.approx((2e9 + 4e5) / 2e9)
    fast = e.GPU("fast", flops=1e12, bandwidth=1e15, memory=80e9, price=1.0)
    assert e.decoding_seconds(SIZE, fast, 1, 500, 0, 0.0, GIVEN) == pytest.approx(2e9 * 500 / 0.5e12)
    assert e.decoding_seconds(SIZE, fast, 1, 1, 0, 0.03, GIVEN) == 0.03


def test_a_model_takes_the_power_of_two_of_gpus_that_holds_it():
    assert [e.fitting(b, ROUND) for b in (1e9, 64e9, 65e9, 140e9, 1100e9)] == [1, 1, 2, 4, 32]


def test_no_reference_is_scored_without_a_kl_and_the_price_is_the_hours_times_the_rate():
    assert e.estimate(settings("policy.beta=0"))["sizes"][0]["gpu_hours"]["policy: reference"] == 0
    found = e.estimate(settings("policy.beta=0.1"), "A100", price=3.0)
    for row in found["sizes"]:
        assert row["gpu_hours"]["policy: reference"] > 0
        assert row["cost"] == pytest.approx(3 * sum(row["gpu_hours"].values()))
    totals = [row["total_gpu_hours"] for row in found["sizes"]]
    assert totals == sorted(totals) and [row["size"] for row in found["sizes"]] == ["1.5B", "8B", "70B"]


def test_a_generation_that_serves_two_updates_is_sampled_and_scored_once():
    one, two = (settings("policy.beta=0.1", f"policy.num_iterations={n}") for n in (1, 2))
    once, twice = (e.hours(s, SIZE, ROUND, e.work(s, {}, GIVEN), GIVEN)["gpu_hours"] for s in (one, two))
    for name in ("policy: generation", "policy: rewards"):
        assert twice[name] == pytest.approx(once[name] / 2)
    assert twice["policy: training"] == pytest.approx(once["policy: training"])
    # half of the samples, read by the starting model and by the one that wrote them
    assert twice["policy: reference"] == pytest.approx(once["policy: reference"])
    vllm = settings("policy.beta=0.1", "policy.vllm=true")  # TRL corrects for vLLM's own likelihoods
    by_vllm = e.hours(vllm, SIZE, ROUND, e.work(vllm, {}, GIVEN), GIVEN)["gpu_hours"]
    assert by_vllm["policy: reference"] == pytest.approx(2 * once["policy: reference"])


def test_wrong_words_are_named_and_data_need_not_be_there(tmp_path, capsys):
    with pytest.raises(InputError, match="--gpu 'h1': not known; there are: a100, h100, h200"):
        e.estimate(settings(), "h1")
    with pytest.raises(InputError, match="--price -1"):
        e.estimate(settings(), price=-1)
    found = e.estimate_call(load_config("qwen2.5-1.5b"), Workspace(tmp_path), "h100", None)
    assert found["rows"] == "assumed" and list(tmp_path.iterdir()) == []
    e.print_estimate(found)
    assert "policy: generation" in capsys.readouterr().err
