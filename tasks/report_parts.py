"""What a run's report is made of, read from the outputs of the other stages."""

from __future__ import annotations

import hashlib
import json
import os
from itertools import zip_longest
from pathlib import Path
from typing import Any

from sear_core.errors import InputError
from tasks.report_input import GateDecision, JudgeQuality, ReportInput, Transcript
from tasks.stage import Job
from tasks.workspace import Workspace

COLUMNS = [
    "id", "condition", "category", "slice", "prompt", "sent", "prefill", "closed", "reasoning", "answer", "verdict",
    "harmful", "malformed", "step_values",
]  # fmt: skip
GIT = ("git.commit", "git.dirty")


def collect(job: Job, control: str) -> ReportInput:
    """The report of the stages that `job` was given. `section["run"]`: what is said of the run besides."""
    comparison = json.loads((Path(job.inputs["compare"].path) / "comparison.json").read_text())
    arms, config = job.section["arms"], job.section["config"]
    evaluations = {arm: Path(job.inputs[f"evaluation.{arm}"].path) for arm in arms}
    slices = {arm: _json(folder / "slices.json", {}) for arm, folder in evaluations.items()}
    measured = _json(evaluations[comparison["candidate"]] / "evaluation.json", {})
    baseline = comparison["baseline"]
    about = {k: v for k, v in job.section.get("run", {}).items() if k not in GIT}
    judge = config["evaluation"]["judge"]["kind"]
    return ReportInput(
        title=f"SEAR run: {comparison['candidate']}, seed {config['seed']}",
        run={"arms": ", ".join(arms), "seed": str(config["seed"]), "judge": judge, **about},
        candidate=comparison["candidate"], baseline=baseline, arms=comparison["arms"],
        differences=comparison["differences"], control=control,
        control_differences=comparison["control_differences"],
        champion_differences=comparison.get("champion_differences", {}),
        gate=GateDecision(
            promoted=comparison["promote"], reasons=comparison["reasons"], champion=comparison["champion"],
            checks=comparison.get("checks", []),
        ),
        slices={arm: found.get("rows", []) for arm, found in slices.items()},
        worst=slices[comparison["candidate"]].get("worst", {}),
        curves={arm: _json(folder / "curves.json", {}) for arm, folder in evaluations.items()},
        attacks={row["attack"]: row["description"] for row in measured.get("conditions", [])
                 if row["kind"] == "attack"},
        suites=measured.get("suites", {}),
        notes=list(dict.fromkeys(note for found in slices.values() for note in found.get("notes", []))),
        transcripts=_transcripts(job, arms),
        histories={
            arm: _json(Path(job.inputs[f"policy.{arm}"].path) / "history.json", [])
            for arm in arms
            if arm != baseline
        },
        reward_models=job.inputs["reward_model"].metrics, floors=_floors(config["reward_model"]),
        reliability=_reliability(Path(job.inputs["reward_model"].path)), judge=judge,
        judges=[_judge_quality(job, name) for name in config["report"]["judge_quality"]],
        data=_json(Path(job.inputs["prepare"].path) / "report.json", {}),
        expectations=_json(Path(job.inputs["validate"].path) / "result.json", None), data_docs=_docs(job),
        lineage=_lineage(job), config=config, show_reasoning=job.section["show_reasoning"],
    )  # fmt: skip


def _json(path: Path, absent: Any) -> Any:
    return json.loads(path.read_text("utf-8")) if path.is_file() else absent


def _judge_quality(job: Job, name: str) -> JudgeQuality:
    """A report of `sear judge --json`. Raises InputError where the file is none."""
    try:
        found = json.loads(Workspace(job.root).resolve(name).read_text("utf-8"))
        return JudgeQuality(name=f"{found['judge']} ({Path(name).name})", figures=found)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(
            f"report.judge_quality: {name}: expected the JSON of `sear judge --json`: {error!r}"
        ) from None


def _floors(config: dict[str, Any]) -> dict[str, float]:
    """What the gate before the policy asks of the reward models; nothing where it is off."""
    if not config.get("gate"):
        return {}
    auroc = config["harm"]["min_auroc"]
    return {"harm.steps.auroc": auroc, "harm.answers.auroc": auroc,
            "helpfulness.pairs.accuracy": config["helpfulness"]["min_pair_accuracy"]}  # fmt: skip


def _docs(job: Job) -> str:
    """Data Docs seen from the report, where both lie in the store; a finished output lies as deep as a partial one."""
    docs = Path(job.inputs["validate"].path) / "docs" / "index.html"
    return Path(os.path.relpath(docs, job.out)).as_posix() if docs.is_file() else ""


def _reliability(folder: Path) -> dict[str, list[tuple[float, float, int]]]:
    tables = {
        kind: rows
        for model in ("harm", "helpfulness")
        for kind, rows in _json(folder / model / "calibration.json", {}).items()
    }
    return {
        kind: [(row["probability"], row["label"], int(row["count"])) for row in rows]
        for kind, rows in sorted(tables.items())
        if rows
    }


def _lineage(job: Job) -> dict[str, str]:
    """Code, data, config and models by hash; the code is that of the checkout unless `section["run"]` knows it."""
    from tasks.fingerprint import library_versions
    from tasks.lineage import git_tags

    found = {k: v for k, v in job.section.get("run", {}).items() if k in GIT} or git_tags(job.root)
    found |= {"data version (DVC)": job.inputs["version"].md5,
              "prepared tables (sha256)": getattr(job.inputs["prepare"], "sha256", "")}  # fmt: skip
    for name, handle in sorted(job.inputs.items()):
        if name.startswith(("policy.", "warm_start", "reward_model")):
            found[f"{name} (md5)"] = handle.md5
    text = json.dumps(job.section["config"], sort_keys=True).encode()
    return (
        found | {"config (sha256)": hashlib.sha256(text).hexdigest()} | library_versions("training", "tables")
    )


def _transcripts(job: Job, arms: list[str]) -> list[Transcript]:
    """A few completions per arm, the same prompts side by side; every second one asked directly, others attacked."""
    import pyarrow.parquet as pq

    found: list[list[Transcript]] = []
    for arm in arms:
        path = Path(job.inputs[f"evaluation.{arm}"].path) / "completions.parquet"
        rows = pq.read_table(path, columns=COLUMNS).to_pylist()
        rows.sort(key=lambda row: hashlib.sha256(row["id"].encode()).hexdigest())
        direct = _in_turn([row for row in rows if row["condition"] == "none"])
        attacked = _in_turn([row for row in rows if row["condition"] != "none"])
        chosen = [row for pair in zip_longest(direct, attacked) for row in pair if row is not None]
        found.append([_transcript(arm, row) for row in chosen[: job.section["transcripts"]]])
    return [transcript for of_row in zip_longest(*found) for transcript in of_row if transcript is not None]


def _transcript(arm: str, row: dict[str, Any]) -> Transcript:
    return Transcript(
        arm=arm, category=row["category"], prompt=row["prompt"], slice=row["slice"] or "",
        # of a think block that was never closed, what was judged is the reasoning: no answer to show
        answer=row["answer"] if row["closed"] else "",
        sent=row["sent"] if row["sent"] != row["prompt"] else "",
        verdict="malformed" if row["malformed"] else row["verdict"], reasoning=row["reasoning"],
        prefill=row["prefill"], harmful=row["harmful"], attack=row["condition"],
        step_values=row["step_values"] or [],
    )  # fmt: skip


def _in_turn(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, one of each (condition, category) at a time."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["condition"], row["category"]), []).append(row)
    rounds = zip_longest(*(groups[key] for key in sorted(groups)))
    return [row for group in rounds for row in group if row is not None]
