"""Stage *policy*: SEAR, or a control arm through the same trainer, data, safeguards and budget."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from sear_core.policy.process_rewards import plug_in_file
from tasks.callbacks import training_callback
from tasks.config import ModelConfig, PolicyConfig
from tasks.fingerprint import plug_in_hash
from tasks.handles import Handle, ModelVersion
from tasks.model_state import directory_hash
from tasks.stage import Job, RunContext, Stage, finite, run_stage
from tasks.workspace import Workspace


def stage(arm: str, config: PolicyConfig, model: ModelConfig, seed: int) -> Stage:
    if ":" in config.process_reward:
        plug_in_file(config.process_reward)  # raises InputError before anything runs
    section = config.model_dump(mode="json") | {
        "seed": seed, "trust_remote_code": model.trust_remote_code, "dtype": model.dtype,
    }  # fmt: skip
    return Stage(
        name=f"policy.{arm}", module=__name__, state=outside.__name__, handle=ModelVersion, section=section,
        needs=("prepare", "warm_start", "reward_model"), libraries=("training",), essential=("model/",),
        artifacts=("history.json", "stability.json"), arm=arm, heavy=True,
    )  # fmt: skip


def outside(stage: Stage, inputs: Mapping[str, Handle], workspace: Workspace) -> dict[str, str]:
    """What a plug-in's code and a local prover's weights are; raises InputError where the plug-in is not there."""
    name, prover = stage.section["process_reward"], directory_hash(stage.section["prover"])
    return ({"plug-in": plug_in_hash(name)} if ":" in name else {}) | ({"prover": prover} if prover else {})


def compute(job: Job) -> dict[str, Any]:
    """Train the policy from the warm start; the model lies in `model/`."""
    from sear_core.policy.training import STABILITY_FILE, train_policy
    from sear_core.schema import read_table

    tables = Path(job.inputs["prepare"].path) / "tables"
    rewards = Path(job.inputs["reward_model"].path)
    recap = (
        recap_reasonings(read_table("warm_start", tables, split="train"))
        if job.section["recap_share"]
        else []
    )
    targets = (
        harmful_answers(read_table("answer_labels", tables, split="train"))
        if job.section["process_reward"] == "target_logprob"
        else {}
    )
    metrics = train_policy(
        model_path=str(Path(job.inputs["warm_start"].path) / "model"), out=job.out,
        prompts=read_table("rl_prompts", tables, split="train"),
        harm_path=rewards / "harm", helpfulness_path=rewards / "helpfulness",
        validation_prompts=read_table("rl_prompts", tables, split="validation"),
        recap_reasonings=recap, target_answers=targets, callbacks=(training_callback(job),), **job.section,
    )  # fmt: skip
    if job.log is not None:
        stability = json.loads((job.out / STABILITY_FILE).read_text())
        job.log.tags({"collapse": collapse_tag(stability["collapse"])})
    return {"name": job.arm, "metrics": finite(metrics)}


def collapse_tag(found: Mapping[str, Mapping[str, int | None]]) -> str:
    """`none`, or each collapse by name with the updates where it first began and last ended (no end: still there)."""
    return ", ".join(f"{name} ({span['from']}–{span['to'] or ''})" for name, span in found.items()) or "none"


def harmful_answers(rows: list[dict[str, Any]]) -> dict[str, str]:
    """{prompt: its first answer that is labelled harmful}."""
    found: dict[str, str] = {}
    for row in rows:
        if row["label"] > 0.5:
            found.setdefault(row["prompt"], row["answer"])
    return found


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
