"""Train a policy with SEAR, or with one of its control arms: model directory in, model directory out.

`train_policy` loads the reward models by path; `run_sear` takes them loaded (any objects with their methods).
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback

from sear_core.errors import InputError
from sear_core.loading import load_causal_lm, load_tokenizer
from sear_core.policy.coherence import CompletionLikelihood
from sear_core.policy.process_rewards import load_process_reward
from sear_core.policy.prompts import training_rows
from sear_core.policy.sear_config import SEARConfig
from sear_core.policy.sear_trainer import STATE_FILE, SEARTrainer
from sear_core.trainer_tools import finish, lora_config

# Timings, and the mean loss since the last start: they differ between equal runs.
_UNEQUAL = ("runtime", "per_second", "_time", "flos", "train_loss")


def train_policy(
    *,
    model_path: str,
    out: Path,
    prompts: Sequence[dict],
    harm_path: Path,
    helpfulness_path: Path,
    **options: Any,
) -> dict[str, float]:
    """`run_sear` with the reward models loaded from their directories, on the training device."""
    from sear_core.reward_model.harm import HarmModel
    from sear_core.reward_model.helpfulness import HelpfulnessModel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return run_sear(
        model_path=model_path,
        out=out,
        prompts=prompts,
        harm=HarmModel.load(harm_path, device),
        helpfulness=HelpfulnessModel.load(helpfulness_path, device),
        **options,
    )


def run_sear(
    *,
    model_path: str,
    out: Path,
    prompts: Sequence[dict],
    harm: Any,
    helpfulness: Any,
    seed: int,
    credit: str = "return",
    reasoning_weight: float = 0.5,
    reasoning_weight_ramp: int = 60,
    scale: str = "running",
    sigma_floor: float = 0.1,
    explore_on: str = "harmful",
    max_steps: int = 8,
    process_reward: str = "harm_model",
    recap_share: float = 0.0,
    recap_reasonings: Sequence[dict] = (),
    reference_refusal: str = "Sorry, I can't help with that.",
    safe_snap: float = 0.9,  # TARS, arXiv 2507.00971
    coherent_from: float = 0.25,
    coherence_floor: float | None = None,
    updates: int = 100,
    prompts_per_update: int = 8,
    group_size: int = 8,
    per_device_batch_size: int | None = None,
    num_iterations: int = 1,
    steps_per_generation: int | None = None,
    learning_rate: float = 2e-4,
    lr_scheduler_type: str = "constant",
    beta: float = 0.03,
    entropy_coef: float = 0.0,
    epsilon: float = 0.2,
    loss_type: str = "dapo",
    importance_sampling_level: str = "token",
    temperature: float = 1.0,
    max_completion_length: int = 96,
    max_prompt_length: int = 128,
    save_every: int = 50,
    logging_steps: int = 5,
    bf16: bool = False,
    lora: dict[str, Any] | None = None,
    vllm: bool = False,
    trust_remote_code: bool = False,
    dtype: str = "float32",
    gradient_checkpointing: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    resume: bool = True,
    cpu_threads: int | None = None,
) -> dict[str, float]:
    """Train the policy; returns the last logged metrics (timings left out) and dropped_prompts.

    prompts: rows with prompt and category. Writes `out/model` (safetensors and tokenizer; LoRA merged) and
    `out/history.json`. Checkpoints lie in `out/checkpoints` until the end; with `resume`, training goes on
    from the last whole one. per_device_batch_size counts completions; with several processes
    prompts_per_update is shared among them. Raises InputError for impossible options.
    """
    if cpu_threads:
        torch.set_num_threads(cpu_threads)
    out = Path(out)
    checkpoints = out / "checkpoints"
    batch, accumulation = _batches(prompts_per_update * group_size, per_device_batch_size)
    config = SEARConfig(
        output_dir=str(checkpoints),
        seed=seed,
        credit=credit,
        reasoning_weight=reasoning_weight,
        reasoning_weight_ramp=reasoning_weight_ramp,
        player_scale=scale,
        sigma_floor=sigma_floor,
        explore_on=explore_on,
        max_reasoning_steps=max_steps,
        reference_refusal=reference_refusal,
        safe_snap=safe_snap,
        coherent_from=coherent_from,
        coherence_floor=coherence_floor,
        max_steps=updates,
        num_generations=group_size,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_iterations=num_iterations,
        steps_per_generation=steps_per_generation,
        learning_rate=learning_rate,
        lr_scheduler_type=lr_scheduler_type,
        beta=beta,
        entropy_coef=entropy_coef,
        epsilon=epsilon,
        loss_type=loss_type,
        importance_sampling_level=importance_sampling_level,
        temperature=temperature,
        max_completion_length=max_completion_length,
        save_strategy="steps",
        save_steps=save_every,
        save_total_limit=2,
        logging_steps=logging_steps,
        logging_first_step=True,
        bf16=bf16,
        gradient_checkpointing=gradient_checkpointing,
        use_vllm=vllm,
        trust_remote_code=trust_remote_code,
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    tokenizer = load_tokenizer(model_path, trust_remote_code=trust_remote_code)
    assert config.steps_per_generation and config.generation_batch_size  # set by GRPOConfig
    generations = math.ceil(
        updates * config.gradient_accumulation_steps / (config.steps_per_generation * num_iterations)
    )
    rows, dropped = training_rows(
        tokenizer,
        prompts,
        length=generations * config.generation_batch_size // group_size,
        seed=seed,
        max_prompt_length=max_prompt_length,
        recap_share=recap_share,
        recap_reasonings=recap_reasonings,
    )
    model = load_causal_lm(model_path, dtype=dtype, trust_remote_code=trust_remote_code)
    trainer = SEARTrainer(
        model,
        config,
        harm=harm,
        helpfulness=helpfulness,
        process_reward=load_process_reward(process_reward, harm),
        coherence=None
        if coherence_floor is None
        else _frozen(model_path, tokenizer, dtype, trust_remote_code),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora_config("CAUSAL_LM", **lora) if lora else None,
        callbacks=[_LogLast(), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)  # standard output is the caller's
    if not resume:
        shutil.rmtree(checkpoints, ignore_errors=True)
    trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    finish(trainer, tokenizer, out / "model", out)
    return final_metrics(trainer.state.log_history) | {"dropped_prompts": float(dropped)}


def _frozen(model_path: str, tokenizer: Any, dtype: str, trust_remote_code: bool) -> CompletionLikelihood:
    """The starting model once more, never trained, on the training device."""
    model: Any = load_causal_lm(model_path, dtype=dtype, trust_remote_code=trust_remote_code)
    return CompletionLikelihood(model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer)


def last_checkpoint(folder: Path) -> str | None:
    """The latest checkpoint that was written to its end (SEAR's state comes last), or None."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{STATE_FILE}")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def final_metrics(history: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The last value of every logged metric that equal runs share (no timings)."""
    last: dict[str, float] = {}
    for entry in history:
        last.update({k: float(v) for k, v in entry.items() if isinstance(v, int | float)})
    return {k: v for k, v in last.items() if not any(word in k for word in _UNEQUAL)}


class _LogLast(TrainerCallback):
    """The last update is logged, on whatever multiple it falls: the returned metrics are read from there."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = True


def _batches(completions: int, per_device: int | None) -> tuple[int, int]:
    """TRL's batch size and accumulation for that many completions per update, over all processes."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # as torchrun and accelerate launch set it
    per_device = per_device or completions // processes
    if per_device < 1 or completions % (per_device * processes):
        raise InputError(
            f"per_device_batch_size {per_device} × {processes} processes does not divide the {completions} "
            f"completions of an update (prompts_per_update × group_size)"
        )
    return per_device, completions // (per_device * processes)
