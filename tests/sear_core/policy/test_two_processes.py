"""Two processes under accelerate (gloo, CPU) against one, on the same recorded completions.

accelerate's own launcher for that is used: it forks, so that nothing is imported anew.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from accelerate import debug_launcher
from safetensors.torch import load_file
from transformers import AutoTokenizer

from sear_core.policy.prompts import training_rows

HERE = Path(__file__).parent
TEXTS = [
    "bad way.\n</think>\nYes, do it.", "go on.\n</think>\nNo.", "bad plan.\nbad way.\nstop.\n</think>\nNo, sorry.",
    "go on. bad way. go on.", "stop.\n</think>\nYes.",
]  # fmt: skip


def part():
    spec = importlib.util.spec_from_file_location("part_of_two", HERE / "part_of_two.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs(policy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(policy.path, folder / "policy")
    tokenizer = AutoTokenizer.from_pretrained(policy.path, padding_side="left")
    rows, _ = training_rows(tokenizer, policy.prompts, length=12, seed=0, max_prompt_length=64)
    texts = [TEXTS[(n * n + n // 4) % len(TEXTS)] for n in range(24)]
    texts[8:16] = [
        TEXTS[1]
    ] * 8  # 3 groups of 8 over 2 × 12 places: the second spans both processes, and is dead
    completions = [tokenizer(text)["input_ids"] + [tokenizer.eos_token_id] for text in texts]
    (folder / "recorded.json").write_text(json.dumps({"rows": rows, "completions": completions}))
    debug_launcher(part().one_of_two, args=(folder,), num_processes=2)
    part().run(folder, folder / "one", 24)
    part().run(folder, folder / "one-resampled", 24, resample_dead_groups=1)
    return folder


@pytest.mark.parametrize("kind", ["", "-resampled"])
def test_two_processes_pay_every_token_what_one_does(runs, kind):
    one = json.loads((runs / f"one{kind}/advantages-0.json").read_text())
    two = [
        entry
        for rank in (0, 1)
        for entry in json.loads((runs / f"two{kind}/advantages-{rank}.json").read_text())
    ]
    assert len(two) == 24 and len(json.loads((runs / f"two{kind}/advantages-1.json").read_text())) == 12
    for (question, ids, advantage), (other_question, other_ids, other) in zip(one, two, strict=True):
        assert (question, ids) == (other_question, other_ids)
        assert advantage == pytest.approx(other, abs=1e-6)
    assert sum(any(advantage) for _, _, advantage in one) > 12


@pytest.mark.parametrize("kind", ["", "-resampled"])
def test_two_processes_end_with_the_weights_and_the_metrics_of_one(runs, kind):
    one, two = (torch.load(runs / f"{n}{kind}/weights.pt", weights_only=True) for n in ("one", "two"))
    before = load_file(runs / "policy/model.safetensors")
    assert one.keys() == two.keys()
    for name, start in before.items():
        moved = (one[name] - start).abs().max()
        assert moved > 0, name
        assert (one[name] - two[name]).abs().max() < 1e-3 * moved, (
            name
        )  # plain gradient descent: linear in the gradient
    first, second = (json.loads((runs / f"{n}{kind}/metrics.json").read_text()) for n in ("one", "two"))
    for name in ("reward/answer", "reward/reasoning", "length/reasoning", "advantage/answer_std", "dead_groups",
                 "advantage/reasoning_std", "grad_norm", "malformed_rate", "lambda"):  # fmt: skip
        assert first[name] == pytest.approx(second[name], abs=1e-6), name
    assert first["dead_groups"] == pytest.approx(1 / 3)
    if kind:
        assert first["resampled_groups"] == second["resampled_groups"] == first["dead_groups"]


def test_validation_is_gathered_over_processes(runs):
    """The noise differs by process, the number of prompts does not: rates are multiples of a sixth, or a half."""
    metrics = json.loads((runs / "two/metrics.json").read_text())
    assert 0 <= metrics["validation/score"] <= 1
    assert metrics["validation/malformed_rate"] * 6 == pytest.approx(
        round(metrics["validation/malformed_rate"] * 6)
    )
