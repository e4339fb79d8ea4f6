"""Stages *compare* and *report*: arms side by side with paired differences and the gate's decision; one page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from sear_core.errors import InputError
from tasks.cache import md5_file
from tasks.config import GateConfig
from tasks.handles import Comparison, Handle
from tasks.stage import Job, RunContext, Stage, run_stage, write_json
from tasks.workspace import Workspace

BASELINE, CONTROL = "sft", "grpo"
COMPLETIONS = "completions.parquet"


def compare_stage(arms: list[str], gate: GateConfig, reward_floors: dict[str, float], seed: int) -> Stage:
    """reward_floors: what the gate asks of the reward models' held-out figures."""
    return Stage(
        name="compare", module=__name__, handle=Comparison, compute="compute_compare",
        section={
            "arms": arms, "gate": gate.model_dump(mode="json", exclude={"approval"}),
            "reward_floors": reward_floors, "seed": seed,
        },
        needs=("reward_model", "champion", *(f"evaluation.{arm}" for arm in arms)), essential=("comparison.json",),
        artifacts=("comparison.json",),
    )  # fmt: skip


def report_stage(arms: list[str], config: dict[str, Any], transcripts: int, show_reasoning: bool) -> Stage:
    trained = [arm for arm in arms if arm != BASELINE]
    return Stage(
        name="report", module=__name__, handle=Comparison, compute="compute_report", state="judge_files",
        section={"arms": arms, "config": config, "transcripts": transcripts, "show_reasoning": show_reasoning},
        needs=("version", "prepare", "validate", "warm_start", "reward_model", "compare",
               *(f"policy.{arm}" for arm in trained), *(f"evaluation.{arm}" for arm in arms)),
        essential=("report.html",), resources=("tasks/templates/*",),
        artifacts=("report.html", "transcripts.json", "reasoning.json", "plots"),
    )  # fmt: skip


def judge_files(stage: Stage, inputs: Mapping[str, Handle], workspace: Workspace) -> dict[str, str]:
    """The bytes of the files that `report.judge_quality` names. Raises InputError for one that is not there."""
    found = {}
    for name in stage.section["config"]["report"]["judge_quality"]:
        path = workspace.resolve(name)
        if not path.is_file():
            raise InputError(f"report.judge_quality: {name}: no such file")
        found[f"judge quality {name}"] = md5_file(path)
    return found


def compute_compare(job: Job) -> dict[str, Any]:
    """Write comparison.json: arms, differences to the warm start, and the gate's decision with its reasons."""
    from sear_core.evaluation.differences import differences, read_judged
    from tasks.gate import Rival, decide

    arms, gate, seed = (
        job.section["arms"],
        GateConfig.model_validate(job.section["gate"]),
        job.section["seed"],
    )
    evaluations = {arm: job.inputs[f"evaluation.{arm}"] for arm in arms}
    judged = {arm: read_judged(Path(handle.path) / COMPLETIONS) for arm, handle in evaluations.items()}
    candidate, champion = evaluations[gate.candidate], Path(job.inputs["champion"].path)
    told = json.loads((champion / "champion.json").read_text())
    rival = None
    if told["fault"]:
        rival = Rival(fault=told["fault"])
    elif told["version"]:
        rival = Rival(
            job.inputs["champion"].metrics,
            differences(judged[gate.candidate], read_judged(champion / COMPLETIONS), seed),
            _slices(champion),
        )
    decision = decide(
        candidate.metrics, gate, rival, slices=_slices(Path(candidate.path)),
        reward_models=job.inputs["reward_model"].metrics, reward_floors=job.section["reward_floors"],
    )  # fmt: skip
    write_json(job.out / "comparison.json", {
        "arms": {arm: handle.metrics for arm, handle in evaluations.items()},
        "differences": {
            arm: differences(judged[arm], judged[BASELINE], seed) for arm in arms if arm != BASELINE
        },
        "control_differences": differences(judged[gate.candidate], judged[CONTROL], seed)
        if CONTROL in arms and gate.candidate != CONTROL else {},
        "champion_differences": {} if rival is None else dict(rival.differences),
        "baseline": BASELINE, "candidate": gate.candidate, "champion": told["version"], **decision.as_json(),
        "evaluation_md5": candidate.md5, "rival": told["rival"],
    })  # fmt: skip
    return {"arms": arms, "metrics": {"gate.passed": float(decision.promote)}}


def _slices(folder: Path) -> list[dict[str, Any]]:
    path = folder / "slices.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []


def compute_report(job: Job) -> dict[str, Any]:
    """Write report.html from the files of the other stages; the plots and transcripts as files of their own too."""
    from tasks.report_html import plots_of, write_report
    from tasks.report_parts import collect

    page = collect(job, CONTROL)
    figures = plots_of(page)
    write_report(page, job.out / "report.html", figures)
    (job.out / "plots").mkdir(exist_ok=True)
    for name, svg in figures.items():
        if svg:
            (job.out / "plots" / f"{name}.svg").write_text(svg, "utf-8")
    hidden = {"reasoning", "prefill", "sent"}
    rows = [transcript.model_dump(mode="json") for transcript in page.transcripts]
    write_json(
        job.out / "transcripts.json", [{k: v for k, v in row.items() if k not in hidden} for row in rows]
    )
    if page.show_reasoning:
        write_json(job.out / "reasoning.json",
                   [{k: row[k] for k in ("arm", "prompt", *sorted(hidden))} for row in rows])  # fmt: skip
    return {"arms": job.section["arms"]}


@task(name="compare", cache_policy=NO_CACHE, persist_result=False)
def run_compare(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """Arms side by side, and the gate."""
    return run_stage(stage, inputs, context)


@task(name="report", cache_policy=NO_CACHE, persist_result=False)
def run_report(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """The page."""
    return run_stage(stage, inputs, context)
