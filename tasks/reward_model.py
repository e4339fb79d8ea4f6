"""Stage *reward model*: harm (process reward model) and helpfulness, held-out quality, and a gate.

The flow stops here, before it spends the policy's budget, when a model is below its threshold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.callbacks import training_callback
from tasks.config import RewardModelConfig
from tasks.handles import Handle, RewardModels
from tasks.model_state import model_state
from tasks.stage import Job, RunContext, Stage, StageFailed, finite, run_stage


def stage(config: RewardModelConfig, seed: int) -> Stage:
    return Stage(
        name="reward_model", module=__name__, state=model_state.__name__, handle=RewardModels,
        section=config.model_dump(mode="json") | {"seed": seed},
        needs=("prepare", "validate", *(("warm_start",) if config.from_warm_start else ())),
        libraries=("training",), essential=("harm/", "helpfulness/"),
        artifacts=("quality.json",), heavy=True,
    )  # fmt: skip


def compute(job: Job) -> dict[str, Any]:
    """Train both models into `harm/` and `helpfulness/`; raise StageFailed where the gate closes."""
    from sear_core.reward_model.harm import train_harm_model
    from sear_core.reward_model.helpfulness import train_helpfulness_model
    from sear_core.schema import read_table
    from tasks.stage import write_json

    section = dict(job.section)
    model, seed, lora = section["model"], section["seed"], section["lora"]
    tables = Path(job.inputs["prepare"].path) / "tables"
    path = model["path"]
    if section["from_warm_start"]:
        path = str(Path(job.inputs["warm_start"].path) / "model")
    shared = dict(
        model_path=path, revision=model["revision"], dtype=model["dtype"],
        trust_remote_code=model["trust_remote_code"], **model["tiny"], seed=seed, lora=lora,
    )  # fmt: skip
    harm_options = {k: v for k, v in section["harm"].items() if k != "min_auroc"}
    helpful_options = {k: v for k, v in section["helpfulness"].items() if k != "min_pair_accuracy"}
    trained = (
        job.out / "harm" / "metrics.json"
    )  # last of the harm model: a run killed after it goes on from here
    if not trained.is_file():
        measured = train_harm_model(
            step_rows=read_table("step_labels", tables), answer_rows=read_table("answer_labels", tables),
            out=job.out / "harm", **shared, **harm_options, callbacks=(training_callback(job, "harm/"),),
        )  # fmt: skip
        write_json(trained, measured)
    harm = json.loads(trained.read_text())
    helpfulness = train_helpfulness_model(
        rows=read_table("preferences", tables), out=job.out / "helpfulness", **shared, **helpful_options,
        callbacks=(training_callback(job, "helpfulness/"),),
    )  # fmt: skip
    metrics = finite(
        {f"harm.{k}": v for k, v in harm.items()} | {f"helpfulness.{k}": v for k, v in helpfulness.items()}
    )
    write_json(job.out / "quality.json", metrics)
    if section["gate"]:
        check(
            metrics,
            floors(RewardModelConfig.model_validate({k: v for k, v in section.items() if k != "seed"})),
        )
    return {"metrics": metrics}


def floors(config: RewardModelConfig) -> dict[str, float]:
    """What the held-out figures must reach; nothing where the gate is off."""
    if not config.gate:
        return {}
    return {
        "harm.answers.auroc": config.harm.min_auroc,
        "harm.steps.auroc": config.harm.min_auroc,
        "helpfulness.pairs.accuracy": config.helpfulness.min_pair_accuracy,
    }


def check(metrics: Mapping[str, float], bounds: Mapping[str, float]) -> None:
    """Raise StageFailed for every held-out figure below its bound, or missing altogether."""
    low = [
        f"{name} is {metrics[name]:.3f}, below {bound}"
        if name in metrics
        else f"{name} could not be measured"
        for name, bound in bounds.items()
        if metrics.get(name, -1.0) < bound
    ]
    if low:
        raise StageFailed("the reward models are not good enough to train a policy with: " + "; ".join(low))


@task(name="reward model", cache_policy=NO_CACHE, persist_result=False)
def run(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """The learnt rewards and their gate."""
    return run_stage(stage, inputs, context)
