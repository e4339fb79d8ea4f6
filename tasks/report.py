"""Stages *compare* and *report*: arms side by side with paired differences and the gate's decision; one page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.config import GateConfig
from tasks.gate import decide
from tasks.handles import Comparison, Handle
from tasks.model_registry import RIVAL_TAG, Registered
from tasks.stage import Job, RunContext, Stage, run_stage, write_json
from tasks.workspace import Workspace

BASELINE, CONTROL = "sft", "grpo"


def compare_stage(
    arms: list[str], gate: GateConfig, measured: dict[str, Any], model: str, seed: int
) -> Stage:
    """`model`: the registered model whose champion the candidate meets; `measured`: how both must have been."""
    return Stage(
        name="compare", module=__name__, handle=Comparison, compute="compute_compare", state="champion_state",
        section={
            "arms": arms, "gate": gate.model_dump(mode="json"), "measured": measured, "model": model, "seed": seed,
        },
        needs=("prepare", *(f"evaluation.{arm}" for arm in arms)), essential=("comparison.json",),
        artifacts=("comparison.json",),
    )  # fmt: skip


def report_stage(arms: list[str], config: dict[str, Any], transcripts: int, show_reasoning: bool) -> Stage:
    trained = [arm for arm in arms if arm != BASELINE]
    return Stage(
        name="report", module=__name__, handle=Comparison, compute="compute_report",
        section={"arms": arms, "config": config, "transcripts": transcripts, "show_reasoning": show_reasoning},
        needs=("version", "prepare", "validate", "warm_start", "reward_model", "compare",
               *(f"policy.{arm}" for arm in trained), *(f"evaluation.{arm}" for arm in arms)),
        essential=("report.html",), resources=("tasks/templates/*",),
        artifacts=("report.html", "transcripts.json", "reasoning.json", "plots"),
    )  # fmt: skip


def champion_state(stage: Stage, inputs: Mapping[str, Handle], workspace: Workspace) -> dict[str, str]:
    """Which champion the decision is made against. Where it is the candidate itself: the one it was promoted over.

    So an unchanged rerun of the run that promoted its own model finds its decision again.
    """
    from tasks import model_registry
    from tasks.tracking import tracking_uri

    champion = model_registry.by_alias(
        tracking_uri(workspace), stage.section["model"], model_registry.CHAMPION
    )
    return {"champion": _rival(champion, inputs[f"evaluation.{stage.section['gate']['candidate']}"])}


def _rival(champion: Registered | None, candidate: Handle) -> str:
    if champion is None:
        return "none"
    if champion.tags.get("evaluation.md5") == candidate.md5:
        return champion.tags.get(RIVAL_TAG, "none")
    return f"{champion.version} {champion.md5}"


def compute_compare(job: Job) -> dict[str, Any]:
    """Write comparison.json: arms, differences to the warm start, and the gate's decision with its reasons."""
    from sear_core.evaluation.differences import differences, read_judged
    from tasks import model_registry

    arms, gate = job.section["arms"], GateConfig.model_validate(job.section["gate"])
    evaluations = {arm: job.inputs[f"evaluation.{arm}"] for arm in arms}
    judged = {
        arm: read_judged(Path(handle.path) / "completions.parquet") for arm, handle in evaluations.items()
    }
    prepared = getattr(job.inputs["prepare"], "sha256", "")
    measured_on = hashlib.sha256(
        json.dumps([prepared, job.section["measured"]], sort_keys=True).encode()
    ).hexdigest()
    candidate = evaluations[gate.candidate]
    found = champion = None
    if job.log is not None:
        found = model_registry.by_alias(
            job.log.client.tracking_uri, job.section["model"], model_registry.CHAMPION
        )
        champion = None if found is None or found.tags.get("evaluation.md5") == candidate.md5 else found
    decision = decide(
        candidate.metrics, gate, None if champion is None else champion.metrics,
        comparable=champion is None or champion.evaluation == measured_on,
    )  # fmt: skip
    write_json(job.out / "comparison.json", {
        "arms": {arm: handle.metrics for arm, handle in evaluations.items()},
        "differences": {
            arm: differences(judged[arm], judged[BASELINE], job.section["seed"])
            for arm in arms
            if arm != BASELINE
        },
        "control_differences": differences(judged[gate.candidate], judged[CONTROL], job.section["seed"])
        if CONTROL in arms and gate.candidate != CONTROL else {},
        "baseline": BASELINE, "candidate": gate.candidate, "champion": "" if champion is None else champion.version,
        "promote": decision.promote, "reasons": decision.reasons,
        "evaluation": measured_on, "evaluation_md5": candidate.md5, "rival": _rival(found, candidate),
    })  # fmt: skip
    return {"arms": arms, "metrics": {"gate.passed": float(decision.promote)}}


def compute_report(job: Job) -> dict[str, Any]:
    """Write report.html from the files of the other stages."""
    from tasks.report_html import GateDecision, ReportInput, write_report

    comparison = json.loads((Path(job.inputs["compare"].path) / "comparison.json").read_text())
    arms, config = job.section["arms"], job.section["config"]
    data_report = json.loads((Path(job.inputs["prepare"].path) / "report.json").read_text())
    quality = job.inputs["reward_model"].metrics
    histories = {arm: _history(job, "warm_start" if arm == BASELINE else f"policy.{arm}") for arm in arms}
    page = ReportInput(
        title=f"SEAR run: {config['gate']['candidate']}, seed {config['seed']}",
        run={"arms": ", ".join(arms), "seed": str(config["seed"]), "judge": config["evaluation"]["judge"]["kind"]},
        candidate=comparison["candidate"], baseline=comparison["baseline"], arms=comparison["arms"],
        differences=comparison["differences"], control=CONTROL,
        control_differences=comparison["control_differences"],
        gate=GateDecision(
            promoted=comparison["promote"], reasons=comparison["reasons"], champion=comparison["champion"]
        ),
        transcripts=_transcripts(job, arms), histories={a: h for a, h in histories.items() if a != BASELINE},
        reward_models=quality, reliability=_reliability(Path(job.inputs["reward_model"].path)),
        data=data_report, lineage=_lineage(job), show_reasoning=job.section["show_reasoning"],
    )  # fmt: skip
    write_report(page, job.out / "report.html")
    _write_parts(page, job.out)
    return {"arms": arms}


def _write_parts(page: Any, out: Path) -> None:
    """The plots and the sample transcripts as files of their own; reasoning apart, and only where it is shown."""
    from tasks.report_html import plots_of

    (out / "plots").mkdir(exist_ok=True)
    for name, svg in plots_of(page).items():
        if svg:
            (out / "plots" / f"{name}.svg").write_text(svg)
    hidden = {"reasoning", "prefill"}
    rows = [transcript.model_dump(mode="json") for transcript in page.transcripts]
    write_json(out / "transcripts.json", [{k: v for k, v in row.items() if k not in hidden} for row in rows])
    if page.show_reasoning:
        write_json(
            out / "reasoning.json", [{k: row[k] for k in ("arm", "prompt", *sorted(hidden))} for row in rows]
        )


def _history(job: Job, stage: str) -> list[dict[str, Any]]:
    path = Path(job.inputs[stage].path) / "history.json"
    return json.loads(path.read_text()) if path.is_file() else []


def _reliability(folder: Path) -> list[tuple[float, float, int]]:
    path = folder / "harm" / "calibration.json"
    bins = json.loads(path.read_text()).get("answers", []) if path.is_file() else []
    return [(row["probability"], row["label"], int(row["count"])) for row in bins]


def _lineage(job: Job) -> dict[str, str]:
    from tasks.fingerprint import library_versions

    found = {"data version (DVC)": job.inputs["version"].md5,
             "prepared tables (sha256)": getattr(job.inputs["prepare"], "sha256", "")}  # fmt: skip
    for name, handle in sorted(job.inputs.items()):
        if name.startswith(("policy.", "warm_start", "reward_model")):
            found[f"{name} (md5)"] = handle.md5
    text = json.dumps(job.section["config"], sort_keys=True).encode()
    return (
        found | {"config (sha256)": hashlib.sha256(text).hexdigest()} | library_versions("training", "tables")
    )


def _transcripts(job: Job, arms: list[str]) -> list[Any]:
    """A few completions per arm, spread over conditions and categories by content hash."""
    import pyarrow.parquet as pq

    found: list[dict[str, Any]] = []
    columns = [
        "id",
        "condition",
        "category",
        "prompt",
        "prefill",
        "closed",
        "reasoning",
        "answer",
        "verdict",
        "harmful",
        "malformed",
    ]
    for arm in arms:
        path = Path(job.inputs[f"evaluation.{arm}"].path) / "completions.parquet"
        rows = pq.read_table(path, columns=columns).to_pylist()
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in sorted(rows, key=lambda row: hashlib.sha256(row["id"].encode()).hexdigest()):
            groups.setdefault((row["condition"], row["category"]), []).append(row)
        rounds = [row for group in zip(*groups.values(), strict=False) for row in group]
        for row in rounds[: job.section["transcripts"]]:
            found.append({
                "arm": arm, "category": row["category"], "prompt": row["prompt"],
                # of a think block that was never closed, what was judged is the reasoning: no answer to show
                "answer": row["answer"] if row["closed"] else "",
                "verdict": "malformed" if row["malformed"] else row["verdict"], "reasoning": row["reasoning"],
                "prefill": row["prefill"], "harmful": row["harmful"],
                "attack": "" if row["condition"] == "none" else row["condition"],
            })  # fmt: skip
    return found


@task(name="compare", cache_policy=NO_CACHE, persist_result=False)
def run_compare(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """Arms side by side, and the gate."""
    return run_stage(stage, inputs, context)


@task(name="report", cache_policy=NO_CACHE, persist_result=False)
def run_report(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """The page."""
    return run_stage(stage, inputs, context)
