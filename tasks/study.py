"""Stage *study*: all members of a study together: means, intervals, paired differences, plots, one page.

Writes `study.json` (tasks/study_result.py: StudyResult), `plots/*.svg` and `report.html`. The page is
`tasks/study_html.py: write_study(result: StudyResult, figures: {name: SVG}, path)`; figures are `trade_off` (direct),
`trade_off.<attack>` and `curves`, drawn by tasks/study_plots.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.handles import Handle, StudyReport
from tasks.stage import Job, RunContext, Stage, run_stage, write_json


def stage(members: list[dict[str, Any]], baseline: str, shares: list[float | None], candidate: str) -> Stage:
    """`members`: name, arm, seed, share, status and error of each; `shares`: the main one first.

    A finished member's handles are the needs `evaluation: <name>` and, where it was trained, `policy: <name>`.
    """
    finished = [member for member in members if member["status"] == "finished"]
    needs = [f"evaluation: {member['name']}" for member in finished]
    needs += [f"policy: {member['name']}" for member in finished if member["trained"]]
    return Stage(
        name="study", module=__name__, handle=StudyReport,
        section={"members": members, "baseline": baseline, "shares": shares, "candidate": candidate},
        needs=tuple(needs), essential=("study.json",), resources=("tasks/templates/*",),
        artifacts=("study.json", "report.html", "plots"),
    )  # fmt: skip


def compute(job: Job) -> dict[str, Any]:
    """Write study.json, the plots and the page; the handle's metrics are the main share's means and intervals."""
    from tasks.study_html import lineage_of, write_study
    from tasks.study_plots import figures_of
    from tasks.study_result import study_result

    members = [_member(job, entry) for entry in job.section["members"]]
    histories = {
        member["name"]: _history(job.inputs[f"policy: {member['name']}"])
        for member in members
        if f"policy: {member['name']}" in job.inputs
    }
    options = {name: job.section[name] for name in ("baseline", "shares", "candidate")}
    result = study_result(members, histories, **options)
    figures = figures_of(result)
    result = result.model_copy(update={"figures": list(figures)})
    (job.out / "plots").mkdir(exist_ok=True)
    for name, svg in figures.items():
        (job.out / "plots" / f"{name}.svg").write_text(svg)
    tags = {} if job.log is None else job.log.client.get_run(job.log.run_id).data.tags
    write_study(result, figures, job.out / "report.html", lineage_of(tags))
    write_json(job.out / "study.json", result.model_dump(mode="json"))
    return {"metrics": result.flat()}


def _member(job: Job, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry with what its evaluation measured, and how long its own stages took."""
    handles = [job.inputs.get(f"{noun}: {entry['name']}") for noun in ("evaluation", "policy")]
    evaluation = handles[0]
    if evaluation is None:
        return dict(entry)
    return {
        **entry, "metrics": evaluation.metrics, "run_id": evaluation.run_id,
        "seconds": _seconds(job, [handle.run_id for handle in handles if handle is not None]),
    }  # fmt: skip


def _seconds(job: Job, run_ids: list[str]) -> float | None:
    """How long those stages took, by the runs that computed them; None where the store does not know them."""
    from mlflow.exceptions import MlflowException

    if job.log is None:
        return None
    try:
        found = [job.log.client.get_run(run_id).info for run_id in run_ids]
    except MlflowException:
        return None
    spans = [(info.end_time or 0) - info.start_time for info in found]
    return round(sum(spans) / 1000, 1) if min(spans) > 0 else None


def _history(policy: Handle) -> list[dict[str, Any]]:
    path = Path(policy.path) / "history.json"
    return json.loads(path.read_text()) if path.is_file() else []


@task(name="study", cache_policy=NO_CACHE, persist_result=False)
def run(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """Means over seeds, differences, plots."""
    return run_stage(stage, inputs, context)
