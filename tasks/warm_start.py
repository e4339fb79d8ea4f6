"""Stage *warm start*: supervised fine-tuning on reasoning traces; builds the tiny model where none is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.callbacks import training_callback
from tasks.config import WarmStartConfig
from tasks.handles import Handle, ModelVersion
from tasks.model_state import model_state
from tasks.stage import Job, RunContext, Stage, finite, run_stage


def stage(config: WarmStartConfig, seed: int) -> Stage:
    return Stage(
        name="warm_start", module=__name__, state=model_state.__name__, handle=ModelVersion,
        section=config.model_dump(mode="json") | {"seed": seed},
        needs=("prepare", "validate"), libraries=("training",), essential=("model/",),
        artifacts=("history.json",), heavy=True,
    )  # fmt: skip


def compute(job: Job) -> dict[str, Any]:
    """Train, or only copy where `train` is false; the model lies in `model/`."""
    from sear_core.schema import read_table
    from sear_core.warm_start.training import train_warm_start

    section = dict(job.section)
    model = section.pop("model")
    rows = read_table("warm_start", Path(job.inputs["prepare"].path) / "tables")
    metrics = train_warm_start(
        rows=rows, out=job.out, model_path=model["path"], revision=model["revision"], dtype=model["dtype"],
        trust_remote_code=model["trust_remote_code"], **model["tiny"], **section,
        callbacks=(training_callback(job),),
    )  # fmt: skip
    return {"name": "warm_start", "metrics": finite(metrics)}


@task(name="warm start", cache_policy=NO_CACHE, persist_result=False)
def run(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """The supervised start."""
    return run_stage(stage, inputs, context)
