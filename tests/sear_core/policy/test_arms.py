"""Every control arm through the one code path, on a policy that writes well-formed completions."""

import torch
from safetensors.torch import load_file

from flows.config import ARMS
from sear_core.policy.training import run_sear

REASONINGS = [
    {"prompt": f"wreck a {thing}?", "reasoning": "bad plan.\nbad way."} for thing in ("mill", "lamp")
]


def test_each_arm_trains_and_no_two_end_in_the_same_weights(policy, scorers, tmp_path):
    weights, metrics = {}, {}
    for arm, differences in ARMS.items():
        if arm == "sft":
            continue
        metrics[arm] = run_sear(
            model_path=policy.path, prompts=policy.prompts, out=tmp_path / arm, **scorers, seed=1, updates=2,
            prompts_per_update=6, group_size=4, max_completion_length=40, reasoning_weight_ramp=0, save_every=2,
            logging_steps=1, learning_rate=1e-3, recap_reasonings=REASONINGS, **differences,
        )  # fmt: skip
        found = load_file(tmp_path / arm / "model" / "model.safetensors")
        weights[arm] = torch.cat([tensor.flatten() for _, tensor in sorted(found.items())])
    assert list(weights) == ["grpo", "grpo_sum", "sear_outcome", "sear", "recap"]
    for arm, vector in weights.items():
        assert vector.isfinite().all(), arm
        assert not any(torch.equal(vector, other) for name, other in weights.items() if name != arm), arm
        assert metrics[arm]["malformed_rate"] < 0.5, arm
