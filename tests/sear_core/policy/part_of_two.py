"""A trainer on recorded completions, for one process or one of two: see test_two_processes.py."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import torch
from accelerate.state import AcceleratorState
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from sear_core.policy.sear_config import SEARConfig
from sear_core.policy.sear_trainer import SEARTrainer
from sear_core.policy.validation import validate


def stubs():
    spec = importlib.util.spec_from_file_location(
        "conftest_of_policy", Path(__file__).with_name("conftest.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {"harm": module.StubHarm(), "helpfulness": module.StubHelpfulness()}


def build(folder: Path, out: Path, per_device: int, **options) -> SEARTrainer:
    """A trainer whose samples are the recorded ones: of every prompt, in the order of the whole batch."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=torch.float32)
    recorded = json.loads((folder / "recorded.json").read_text())
    trainer = SEARTrainer(
        model,
        SEARConfig(
            output_dir=str(out), per_device_train_batch_size=per_device, num_generations=8, max_completion_length=40,
            max_steps=1, learning_rate=0.1, optim="sgd", beta=0.02, save_strategy="no", report_to="none",
            use_cpu=True, disable_tqdm=True, seed=5, reasoning_weight=1.0, player_scale="batch",
            max_grad_norm=1e9, logging_steps=1, loss_per_player=True, **options,
        ),
        validation_rows=recorded["rows"][:6],
        train_dataset=Dataset.from_list(recorded["rows"]), processing_class=tokenizer, **stubs(),
    )  # fmt: skip
    sample = trainer._generate_single_turn
    kept: dict = {"advantages": []}

    def replay(prompt_ids, *rest):
        if not trainer.model.training:
            return sample(prompt_ids, *rest)
        if len(prompt_ids) == per_device and not kept["advantages"]:
            start = trainer.accelerator.process_index * per_device
            return [list(ids) for ids in recorded["completions"][start : start + per_device]], None
        ids = trainer.processing_class("go on.\n</think>\nNo.")["input_ids"] + [
            trainer.processing_class.eos_token_id
        ]
        return [list(ids) for _ in prompt_ids], None

    score = trainer._generate_and_score_completions

    def keep(inputs):
        output = score(inputs)
        kept["advantages"] += [
            [row["question"], ids[mask.bool()].tolist(), adv[mask.bool()].tolist()]
            for row, ids, mask, adv in zip(
                inputs, output["completion_ids"], output["completion_mask"], output["advantages"], strict=True
            )
        ]
        return output

    trainer._generate_single_turn = replay
    trainer._generate_and_score_completions = keep
    trainer.kept = kept["advantages"]
    return trainer


def run(folder: Path, out: Path, per_device: int, **options) -> None:
    """Train for one update; write what each process saw, and the first one's weights and metrics."""
    trainer = build(folder, out / "checkpoints", per_device, **options)
    trainer.train()
    rank = trainer.accelerator.process_index
    out.mkdir(parents=True, exist_ok=True)
    (out / f"advantages-{rank}.json").write_text(json.dumps(trainer.kept))
    metrics = validate(trainer)
    if rank == 0:
        torch.save({k: v.clone() for k, v in trainer.model.state_dict().items()}, out / "weights.pt")
        (out / "metrics.json").write_text(json.dumps(trainer.state.log_history[0] | metrics))


def one_of_two(folder: Path) -> None:
    """What each of the two forked processes does."""
    torch.set_num_threads(1)
    AcceleratorState._reset_state(reset_partial_state=True)  # the parent's: a single process
    run(folder, folder / "two", 12)
    run(folder, folder / "two-resampled", 12, resample_dead_groups=1)
