"""Stage *evaluate*: both sides of the trade-off, without attack and under each, for one model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.config import EvaluationConfig, ModelConfig
from tasks.handles import EvalReport, Handle
from tasks.stage import Job, RunContext, Stage, finite, run_stage


def stage(arm: str, config: EvaluationConfig, model_config: ModelConfig, seed: int, model: str) -> Stage:
    """`model`: the stage whose model is evaluated."""
    section = config.model_dump(mode="json", exclude={"transcripts"}) | {
        "seed": seed, "trust_remote_code": model_config.trust_remote_code, "dtype": model_config.dtype,
    }  # fmt: skip
    needs_harm = ("reward_model",) if config.judge.kind != "oracle" else ()
    return Stage(
        name=f"evaluation.{arm}", module=__name__, handle=EvalReport, section=section,
        needs=("prepare", model, *needs_harm), libraries=("training",),
        essential=("metrics.json", "completions.parquet"),
        artifacts=("metrics.json", "slices.json"), arm=arm, heavy=True,
    )  # fmt: skip


def compute(job: Job) -> dict[str, Any]:
    """Generate under every condition, judge, measure; completions are kept as Parquet."""
    from sear_core.evaluation.evaluate import evaluate_model
    from sear_core.evaluation.judges import OracleJudge, RulesJudge
    from sear_core.schema import read_table

    section = dict(job.section)
    judge_section = section.pop("judge")
    if judge_section["kind"] == "oracle":
        judge: Any = OracleJudge()
    else:
        from sear_core.reward_model.harm import HarmModel

        harm = HarmModel.load(str(Path(job.inputs["reward_model"].path) / "harm"))
        judge = RulesJudge(harm, judge_section["harm_threshold"])
    model = next(h for name, h in job.inputs.items() if name == "warm_start" or name.startswith("policy."))
    metrics = evaluate_model(
        model_path=str(Path(model.path) / "model"), out=job.out, judge=judge,
        rows=read_table("evaluation", Path(job.inputs["prepare"].path) / "tables"),
        progress=lambda done, total, _: job.progress(done, total), **section,
    )  # fmt: skip
    return {"arm": job.arm, "metrics": finite(metrics)}


@task(name="evaluate", cache_policy=NO_CACHE, persist_result=False)
def run(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """Generation, attacks, judging, metrics."""
    return run_stage(stage, inputs, context)
