"""Retraining: new data, the whole DAG, the gate, perhaps a person, a notification. `sear retrain`, `sear schedule`.

update data ─► anything changed? ─► run (challenger and champion on the same prompts, gate) ─► approval ─► tell
                    └─ no: recorded as skipped
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from prefect import flow
from prefect.input import RunInput
from prefect.runtime import deployment

from flows.config import PipelineConfig, load_config
from flows.notify import notify
from flows.plan import plan
from flows.run import run
from sear_core.errors import InputError
from tasks import lineage
from tasks.processes import stop_tree
from tasks.secrets import public
from tasks.stage import StageFailed
from tasks.tracking import Tracker
from tasks.workspace import Workspace

SKIPPED_TAG, DATA_TAG = "sear.skipped", "data.commit"
POLL_SECONDS = 10  # how often a paused run looks for its answer


class Approval(RunInput):
    """What a person answers in Prefect's UI."""

    promote: bool = False
    reason: str = ""


@flow(name="retrain", validate_parameters=False, persist_result=False)
def retrain(
    preset: str | None = None,
    config: str | None = None,
    sets: list[str] | None = None,
    root: str | None = None,
) -> dict[str, Any]:
    """Retrain once; the JSON of `sear run`, or {"status": "skipped", …} where nothing has changed.

    Raises what the run raised, after telling. A gate that stays closed is a refusal, no failure.
    """
    workspace = Workspace(Path(root)) if root else Workspace.find()
    title = f"sear retrain ({preset or config or 'demo'})"
    try:
        settings = load_config(preset, Path(config) if config else None, sets)
        with new_data(settings, workspace) as (settings, commit):
            rows = plan(settings, workspace)["stages"]
            if all(row["cached"] for row in rows):
                return _skipped(settings, workspace, commit)
            result = run(settings, workspace, None, None, False, quiet=False)
        model = result.get("model") or {}
        if model.get("passed") and settings.gate.approval:
            model |= approve(workspace, settings, str(model["version"]))
        _tag(settings, workspace, result["run_id"], commit)
    except BaseException as error:
        tell(f"{title}: failed", f"{type(error).__name__}: {public(str(error))[:1500]}")
        raise
    how = "promoted" if model.get("promoted") else "not promoted"
    reasons = "\n".join(model.get("reasons", []))
    tell(f"{title}: version {model.get('version', '–')} {how}", f"run {result['run_id']}\n{reasons}")
    return result


def tell(title: str, body: str) -> None:
    """To the people of APPRISE_URLS; a served run also tells where `sear schedule` was called."""
    notify(title, body)
    if deployment.id:
        print(f"{title}\n{body}", file=sys.stderr, flush=True)


def update(command: list[str], folder: Path) -> None:
    """Run the update command; whatever interrupts it stops it with all that it started. Raises StageFailed."""
    with tempfile.TemporaryFile("w+") as said:
        try:
            process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, start_new_session=True)
        except OSError as error:
            raise StageFailed(f"retrain.update {command[0]!r}: {error.strerror}") from None
        try:
            code = process.wait()
        except BaseException:
            stop_tree(process.pid)
            raise
        said.seek(0)
        if code:
            text = said.read().strip()[-500:]
            raise StageFailed(f"retrain.update {' '.join(command)!r} ended with exit code {code}: {text}")


@contextmanager
def new_data(settings: PipelineConfig, workspace: Workspace) -> Iterator[tuple[PipelineConfig, str]]:
    """The config on updated data, and the commit that holds its data.dvc; both as they were without an update.

    The command of [retrain].update runs in a git worktree on the configured branch, with data/ as data.dvc says;
    what it makes of data/ is added to DVC, pushed where there is a remote, and committed there. The user's own
    tree is not touched.
    """
    if not settings.retrain.update:
        yield settings, ""
        return
    from tasks.dvc_adapter import add, dvc, remotes
    from tasks.sources_in_place import ensure_sources

    if not workspace.resolve(settings.data.root).is_relative_to(workspace.root / "data"):
        raise InputError(
            f"retrain.update brings data into the project's data/, but data.root is {settings.data.root!r}"
        )
    # always the same place: the path of sources outside of data/ is part of what the store knows them by
    tree = workspace.root / ".sear" / "worktrees" / "data"
    workspace.locks.mkdir(parents=True, exist_ok=True)
    with (
        FileLock(workspace.locks / "retrain-data.lock"),
        lineage.worktree(workspace.root, tree, "HEAD", settings.retrain.branch),
    ):
        ensure_sources(tree)
        update(settings.retrain.update, tree)
        add(tree)
        if remotes(tree):
            dvc(tree, "push", "data.dvc")
        commit = lineage.commit(tree, ["data.dvc"], "New data")
        below = workspace.resolve(settings.data.root).relative_to(workspace.root / "data")
        moved = settings.data.model_copy(update={"root": str(tree / "data" / below)})
        yield settings.model_copy(update={"data": moved}), commit


def _skipped(settings: PipelineConfig, workspace: Workspace, commit: str) -> dict[str, Any]:
    """Nothing has changed: a run in MLflow that says so, and nothing else."""
    tracker = Tracker(workspace, settings.experiment)
    log = tracker.start_parent(
        "retrain",
        {SKIPPED_TAG: "nothing changed", DATA_TAG: commit, "config.sha256": settings.sha256},
        "skipped",
    )
    tracker.end(log.run_id)
    return {
        "schema_version": 1,
        "status": "skipped",
        "run_id": log.run_id,
        "reason": "nothing changed",
        "stages": [],
    }


def _tag(settings: PipelineConfig, workspace: Workspace, run_id: str, commit: str) -> None:
    if commit:
        Tracker(workspace, settings.experiment).client.set_tag(run_id, DATA_TAG, commit)


def approve(workspace: Workspace, settings: PipelineConfig, version: str) -> dict[str, Any]:
    """Wait for a person (a paused flow run), then promote or leave it; without a server `sear promote` decides."""
    from flows.promotion import promote

    name = settings.experiment
    waits = f"version {version} of {name!r} has passed the gate and waits for approval"
    if not os.environ.get("PREFECT_API_URL"):
        notify(f"sear: {waits}", f"sear promote {version}")
        return {"promoted": False, "approval": f"no Prefect server to ask on: `sear promote {version}`"}
    from prefect.exceptions import FlowPauseTimeout
    from prefect.flow_runs import pause_flow_run

    notify(f"sear: {waits}", f"answer in Prefect's UI, or: sear promote {version}")
    try:
        answer: Any = pause_flow_run(
            wait_for_input=Approval.with_initial_data(description=waits, promote=False),
            timeout=int(settings.retrain.approval_hours * 3600), poll_interval=POLL_SECONDS,
        )  # fmt: skip
    except FlowPauseTimeout:
        return {
            "promoted": False,
            "approval": f"nobody answered in {settings.retrain.approval_hours:g} hours",
        }
    if not answer.promote:
        return {"promoted": False, "approval": f"refused by a person: {answer.reason or 'no reason given'}"}
    promote(workspace, version, name, reason=f"approved: {answer.reason}")
    return {"promoted": True, "approval": f"approved by a person: {answer.reason or 'no reason given'}"}
