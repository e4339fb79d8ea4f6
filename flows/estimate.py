"""`sear plan --estimate`: GPU hours and cost of a config at the sizes 1.5B, 8B and 70B, before any is spent.

A model, not a measurement; every assumption is a field below and is printed with the result.

    training     flops = c · N · tokens        c = 6; with LoRA 4 (no gradient of the frozen weights)
    scoring      flops = 2 · N · tokens        reward models, and the reference where beta > 0
    generation   a decoding step reads the weights and the batch's key-value cache once:
                 seconds = max((2·N + batch · cache · length / 2) / bandwidth, 2·N·batch / flops, overhead)

    GPU hours of a step = seconds · GPUs that hold the model.  N: parameters, 2 bytes each (bf16).

Source of c = 6 and of 2 per forward token: arXiv 2001.08361 §2.1; the rest is our choice.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from flows.config import PipelineConfig
from sear_core.errors import InputError
from tasks.workspace import Workspace


@dataclass(frozen=True)
class GPU:
    """Dense bf16 flop/s, bytes/s and bytes of the data sheet; dollars an hour: our guess at renting one, 2026."""

    name: str
    flops: float
    bandwidth: float
    memory: float
    price: float


@dataclass(frozen=True)
class Size:
    """A policy's size. cache: bytes of keys and values per token (2 · layers · key-value heads · head size · 2)."""

    name: str
    parameters: float
    layers: int
    cache: float


GPUS = {
    "a100": GPU("A100 80 GB", 312e12, 2.04e12, 80e9, 1.8),
    "h100": GPU("H100 80 GB", 989e12, 3.35e12, 80e9, 2.8),
    "h200": GPU("H200 141 GB", 989e12, 4.8e12, 141e9, 3.5),
}
SIZES = (
    Size("1.5B", 1.54e9, 28, 2 * 28 * 2 * 128 * 2),  # Qwen2.5-1.5B
    Size("8B", 8.03e9, 32, 2 * 32 * 8 * 128 * 2),  # Llama-3.1-8B
    Size("70B", 70.6e9, 80, 2 * 80 * 8 * 128 * 2),  # Llama-3.1-70B
)


@dataclass(frozen=True)
class Assumptions:
    training_use: float = 0.35  # of the data sheet's flops
    scoring_use: float = 0.45
    bandwidth_use: float = 0.6
    length_share: float = 0.35  # mean completion, of the longest allowed
    prompt_share: float = 0.25  # mean prompt, of the longest allowed
    vllm_overhead: float = 0.004  # seconds a decoding step takes at least
    eager_overhead_per_layer: float = 0.0009  # the same of transformers, per layer
    vllm_batch: int = 256  # sequences that a copy of the model decodes at once
    reward_parameters: float = 8e9  # at most: a reward model is as large as the policy up to here
    warm_start_rows: int = 4000  # where the prepared tables are not there yet: TARS, 1,000 prompts × 4
    reward_rows: int = 20_000
    evaluation_rows: int = 3000


@dataclass(frozen=True)
class Work:
    """What a config asks for, whatever the size: tokens and sequences."""

    warm_start_tokens: float
    reward_tokens: float
    updates: int
    completions: int  # of an update
    prompt: float
    completion: float
    evaluations: float  # completions of one arm's evaluation
    evaluation_completion: float
    arms: int


def work(settings: PipelineConfig, rows: dict[str, int], given: Assumptions) -> Work:
    """Count a config's tokens. rows: of the prepared tables, by name; {} where they are not there yet."""
    from sear_core.evaluation.conditions import resolve

    warm, reward, policy, evaluation = (
        settings.warm_start, settings.reward_model, settings.policy, settings.evaluation,
    )  # fmt: skip
    prompt = given.prompt_share * policy.max_prompt_length
    completion = given.length_share * policy.max_completion_length
    conditions, _ = resolve(
        evaluation.attacks, evaluation.strengths, evaluation.artifacts, evaluation.reasoning_use
    )
    prompts = rows.get("evaluation", given.evaluation_rows)
    if evaluation.limit is not None:
        prompts = min(prompts, 3 * evaluation.limit)
    harm_rows = rows.get("step_labels", given.reward_rows // 4) + rows.get(
        "answer_labels", given.reward_rows // 4
    )
    pairs = rows.get("preferences", given.reward_rows // 2)
    return Work(
        warm_start_tokens=(
            rows.get("warm_start", given.warm_start_rows) * warm.epochs * given.length_share * warm.max_length
            if warm.train else 0.0
        ),
        reward_tokens=given.length_share * (
            harm_rows * reward.harm.epochs * reward.harm.max_length
            + 2 * pairs * reward.helpfulness.epochs * reward.helpfulness.max_length  # both of a pair
        ),
        updates=policy.updates, completions=policy.prompts_per_update * policy.group_size,
        prompt=prompt, completion=completion,
        evaluations=prompts * len(conditions) * evaluation.samples,
        evaluation_completion=given.length_share * evaluation.max_new_tokens,
        arms=len([arm for arm in settings.arms if arm != "sft"]),
    )  # fmt: skip


def decoding_seconds(size: Size, gpu: GPU, gpus: int, batch: float, length: float, overhead: float,
                     given: Assumptions) -> float:  # fmt: skip
    """One decoding step of a batch, on one copy of the model over `gpus` GPUs; length: of the finished sequences."""
    read = 2 * size.parameters + batch * size.cache * length / 2
    return max(
        read / (gpus * gpu.bandwidth * given.bandwidth_use),
        2 * size.parameters * batch / (gpus * gpu.flops * given.scoring_use),
        overhead,
    )


def fitting(bytes_needed: float, gpu: GPU) -> int:
    """The least power of two of GPUs whose memory, a fifth of it kept free, holds that much."""
    return 2 ** max(0, math.ceil(math.log2(bytes_needed / (0.8 * gpu.memory))))


def hours(settings: PipelineConfig, size: Size, gpu: GPU, asked: Work, given: Assumptions) -> dict[str, Any]:
    """GPU hours by stage at one size, and how many GPUs hold it at least."""
    n, policy = size.parameters, settings.policy
    reward = min(n, given.reward_parameters)
    lora = policy.lora is not None
    per_token = 4 if lora else 6
    # bf16 weights; trained in full also gradients, fp32 weights and Adam's two moments
    train_gpus = fitting(n * (2 if lora else 16) + 4e9, gpu)
    serve_gpus = fitting(2 * n + 8e9, gpu)
    trained, scored = gpu.flops * given.training_use, gpu.flops * given.scoring_use
    # a generation serves num_iterations updates
    sampled = asked.updates * asked.completions / policy.num_iterations
    tokens = sampled * (asked.prompt + asked.completion)
    accumulation = asked.completions // (policy.per_device_batch_size or asked.completions)
    old = policy.vllm or (policy.steps_per_generation or accumulation) * policy.num_iterations > accumulation

    def generating(sequences: float, completion: float, batch: float, overhead: float) -> float:
        step = decoding_seconds(size, gpu, serve_gpus, batch, completion, overhead, given)
        return sequences * completion / batch * step * serve_gpus

    eager = given.eager_overhead_per_layer * size.layers
    overhead, batch = (given.vllm_overhead, given.vllm_batch) if policy.vllm else (
        eager, policy.per_device_batch_size or asked.completions)  # fmt: skip
    batch = min(batch, asked.completions)
    seconds = {
        "warm_start": per_token * n * asked.warm_start_tokens / trained,
        "reward_model": (4 if settings.reward_model.lora else 6) * reward * asked.reward_tokens / trained,
        "policy: generation": asked.arms * generating(
            sampled, asked.completion, batch, overhead),
        "policy: rewards": asked.arms * 2 * reward * tokens * 2 / scored,
        # the starting model's likelihood for the KL, and the sampling policy's own where TRL asks for it
        "policy: reference": asked.arms * 2 * n * tokens / scored * ((policy.beta > 0) + old),
        "policy: training": asked.arms * per_token * n * tokens * policy.num_iterations / trained,
        # transformers generates a whole batch up to its longest member
        "evaluation": (asked.arms + 1) * generating(
            asked.evaluations, asked.evaluation_completion / given.length_share, settings.evaluation.batch_size, eager),
    }  # fmt: skip
    by_stage = {name: value / 3600 for name, value in seconds.items()}
    return {"size": size.name, "gpus_at_least": max(train_gpus, serve_gpus), "gpu_hours": by_stage,
            "total_gpu_hours": sum(by_stage.values())}  # fmt: skip


def estimate(
    settings: PipelineConfig, gpu: str = "h100", price: float | None = None,
    rows: dict[str, int] | None = None, given: Assumptions | None = None,
) -> dict[str, Any]:  # fmt: skip
    """{"gpu", "price", "rows", "sizes": [{"size", "gpus_at_least", "gpu_hours", "total_gpu_hours", "cost"}], …}.

    Of one seed, warm start and reward models included. Raises InputError for an unknown GPU or a negative price.
    """
    if gpu.lower() not in GPUS:
        raise InputError(f"--gpu {gpu!r}: not known; there are: {', '.join(GPUS)}")
    if price is not None and price < 0:
        raise InputError(f"--price {price:g}: expected dollars per GPU hour, 0 or more")
    chosen, given = GPUS[gpu.lower()], given or Assumptions()
    rate = chosen.price if price is None else price
    asked = work(settings, rows or {}, given)
    found = [hours(settings, size, chosen, asked, given) for size in SIZES]
    return {
        "gpu": chosen.name, "price": rate, "rows": "prepared" if rows else "assumed", "work": asdict(asked),
        "assumptions": asdict(given), "sizes": [{**row, "cost": row["total_gpu_hours"] * rate} for row in found],
    }  # fmt: skip


def estimate_call(
    settings: PipelineConfig, workspace: Workspace, gpu: str, price: float | None
) -> dict[str, Any]:
    """`estimate` with the rows of the prepared tables where the store has them; the sources need not be here."""
    from flows.plan import plan

    try:
        rows = plan(settings, workspace).get("tables", {})
    except InputError:
        rows = {}
    return {"schema_version": 1, **estimate(settings, gpu, price, rows)}


def print_estimate(found: dict[str, Any]) -> None:
    from flows.render import console, table

    out = console()
    shown = table(
        out, f"GPU hours on {found['gpu']} at ${found['price']:g} an hour; one seed, a model, not measured"
    )
    for name in ("", *(row["size"] for row in found["sizes"])):
        shown.add_column(name, justify="left" if not name else "right")
    for stage in found["sizes"][0]["gpu_hours"]:
        shown.add_row(stage, *(f"{row['gpu_hours'][stage]:,.1f}" for row in found["sizes"]))
    shown.add_row("all", *(f"{row['total_gpu_hours']:,.1f}" for row in found["sizes"]))
    shown.add_row("cost", *(f"${row['cost']:,.0f}" for row in found["sizes"]))
    shown.add_row("GPUs, at least", *(str(row["gpus_at_least"]) for row in found["sizes"]))
    out.print(shown)
    given = ", ".join(f"{name} {value:g}" for name, value in found["assumptions"].items())
    out.print(f"rows of the tables: {found['rows']}; assumed: {given}", soft_wrap=True)
