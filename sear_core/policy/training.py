"""Train a policy with SEAR, or with one of its control arms: model directory in, model directory out.

`train_policy` loads the reward models by path; `run_sear` takes them loaded (any objects with their methods).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback

from sear_core.errors import InputError
from sear_core.loading import load_causal_lm, load_tokenizer
from sear_core.policy.coherence import CompletionLikelihood
from sear_core.policy.collapse import NAMES as COLLAPSES
from sear_core.policy.frozen import FrozenModels, build_process_reward
from sear_core.policy.process_rewards import DEFAULT_TARGET
from sear_core.policy.prompts import check_context, training_rows
from sear_core.policy.sear_config import SEARConfig
from sear_core.policy.sear_trainer import SEARTrainer
from sear_core.policy.validation import validation_rows
from sear_core.schema import CATEGORIES
from sear_core.trainer_tools import UNEQUAL, finish, lora_config, run_trainer, write_json

STABILITY_FILE = "stability.json"


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
    explore_from: float = 0.0,
    explore_at_least: float = 0.0,
    max_steps: int = 8,
    process_reward: str = "harm_model",
    prover: str | None = None,
    forced_answers: int = 1,
    forced_answer_tokens: int = 32,
    forced_answer_temperature: float = 1.0,
    target_answers: Mapping[str, str] | None = None,
    target_answer: str = DEFAULT_TARGET,
    harmful_share: float | None = None,
    cross_play: float = 0.0,
    category_balance: bool = False,
    validation_prompts: Sequence[dict] = (),
    validate_every: int = 0,
    validation_size: int = 96,
    validate_swapped: bool = False,
    weight_averaging: float = 0.0,
    loss_per_player: bool = False,
    length_buckets: int = 1,
    resample_dead_groups: int = 0,
    on_collapse: str = "warn",
    kl_limit: float = 1.0,
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

    prover: the model behind the process rewards `forced_answer` and `target_logprob` (None: the starting model,
    frozen); target_answers: {prompt: an unsafe answer}, for the latter. With validate_every, validation_prompts
    (rows of split `validation`, some validation_size of them used) choose the checkpoint whose weights are written.

    prompts: rows with prompt and category. Writes `out/model` (safetensors and tokenizer; LoRA merged),
    `out/history.json` and `out/stability.json` (collapses by name, validation curve, best checkpoint). Checkpoints
    lie in `out/checkpoints` until the end; with `resume`, training goes on from the last whole one.
    per_device_batch_size counts completions; with several processes prompts_per_update is shared among them. Raises
    InputError for impossible options.
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
        explore_from=explore_from,
        explore_at_least=explore_at_least,
        max_reasoning_steps=max_steps,
        reference_refusal=reference_refusal,
        safe_snap=safe_snap,
        coherent_from=coherent_from,
        coherence_floor=coherence_floor,
        cross_play=cross_play,
        category_balance=category_balance,
        validate_every=validate_every,
        validate_swapped=validate_swapped,
        weight_averaging=weight_averaging,
        loss_per_player=loss_per_player,
        length_buckets=length_buckets,
        resample_dead_groups=resample_dead_groups,
        on_collapse=on_collapse,
        kl_limit=kl_limit,
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
    missing = [name for name in CATEGORIES if all(row["category"] != name for row in prompts)]
    if explore_from and missing:
        raise InputError(
            f"policy.explore_from needs prompts of all categories; there is none of {missing[0]}"
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
        harmful_share=harmful_share,
        recap_share=recap_share,
        recap_reasonings=recap_reasonings,
    )
    frozen = FrozenModels(dtype=dtype, trust_remote_code=trust_remote_code)
    process = build_process_reward(
        process_reward, harm, frozen, prover or model_path, forced_answers=forced_answers,
        forced_answer_tokens=forced_answer_tokens, forced_answer_temperature=forced_answer_temperature,
        target_answers=target_answers, target_answer=target_answer,
    )  # fmt: skip
    model = load_causal_lm(model_path, dtype=dtype, trust_remote_code=trust_remote_code)
    validation = (
        validation_rows(tokenizer, validation_prompts, validation_size, max_prompt_length)
        if validate_every
        else []
    )
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    borrows = bool(cross_play or validate_swapped)
    check_context(tokenizer, [*rows, *validation], positions, max_completion_length, borrows)
    trainer = SEARTrainer(
        model,
        config,
        harm=harm,
        helpfulness=helpfulness,
        process_reward=process,
        coherence=None if coherence_floor is None else CompletionLikelihood(*frozen.get(model_path)),
        validation_rows=validation,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora_config("CAUSAL_LM", **lora) if lora else None,
        callbacks=[_LogLast(), *callbacks],
    )
    run_trainer(trainer, out, resume=resume)
    trainer.choose_weights()
    if trainer.is_world_process_zero():
        write_json(out / STABILITY_FILE, trainer.stability)
    finish(trainer, tokenizer, out / "model", out)
    metrics = final_metrics(trainer.state.log_history) | {"dropped_prompts": float(dropped)}
    if trainer.safeguards.best is not None:
        metrics |= {f"validation/best_{key}": float(value) for key, value in trainer.safeguards.best.items()}
    return metrics | {f"collapse/{name}": float(name in trainer.watch.present) for name in COLLAPSES}


def final_metrics(history: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The last value of every logged metric that equal runs share (no timings)."""
    last: dict[str, float] = {}
    for entry in history:
        last.update({k: float(v) for k, v in entry.items() if isinstance(v, int | float)})
    return {k: v for k, v in last.items() if not any(word in k for word in UNEQUAL)}


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
