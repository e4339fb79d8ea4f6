"""Stage *policy*: SEAR, or a control arm through the same trainer, data, safeguards and budget."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.callbacks import training_callback
from tasks.config import ModelConfig, PolicyConfig
from tasks.handles import Handle, ModelVersion
from tasks.stage import Job, RunContext, Stage, finite, run_stage


def stage(arm: str, config: PolicyConfig, model: ModelConfig, seed: int) -> Stage:
    section = config.model_dump(mode="json") | {
        "seed": seed, "trust_remote_code": model.trust_remote_code, "dtype": model.dtype,
    }  # fmt: skip
    return Stage(
        name=f"policy.{arm}", module=__name__, handle=ModelVersion, section=section,
        needs=("prepare", "warm_start", "reward_model"), libraries=("training",), essential=("model/",),
        artifacts=("history.json",), arm=arm, heavy=True,
    )  # fmt: skip


def compute(job: Job) -> dict[str, Any]:
    """Train the policy from the warm start; the model lies in `model/`."""
    from sear_core.policy.training import train_policy
    from sear_core.schema import read_table

    tables = Path(job.inputs["prepare"].path) / "tables"
    rewards = Path(job.inputs["reward_model"].path)
    recap = (
        recap_reasonings(read_table("warm_start", tables, split="train"))
        if job.section["recap_share"]
        else []
    )
    metrics = train_policy(
        model_path=str(Path(job.inputs["warm_start"].path) / "model"), out=job.out,
        prompts=read_table("rl_prompts", tables, split="train"),
        harm_path=rewards / "harm", helpfulness_path=rewards / "helpfulness",
        recap_reasonings=recap, callbacks=(training_callback(job),), **job.section,
    )  # fmt: skip
    return {"name": job.arm, "metrics": finite(metrics)}


def recap_reasonings(traces: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The harmful reasonings of the warm start's traces, with their prompts, for RECAP's prefills."""
    return [
        {"prompt": row["prompt"], "reasoning": row["reasoning"]}
        for row in traces
        if row["category"] == "harmful" and row["kind"] == "trace" and row["reasoning"]
    ]


@task(name="policy", cache_policy=NO_CACHE, persist_result=False)
def run(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """Reinforcement learning."""
    return run_stage(stage, inputs, context)
