"""`sear run`: the whole DAG as one Prefect flow, and its summary."""

from __future__ import annotations

import importlib
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows.config import PipelineConfig
from flows.pipeline import selection
from sear_core.errors import InputError
from tasks.handles import Handle
from tasks.lineage import git_tags
from tasks.progress import Progress
from tasks.stage import RunContext, Stage
from tasks.tracking import RunLog, Tracker, tracking_uri
from tasks.workspace import Workspace

# What the parent run carries, so that the run list is enough to compare.
HEADLINE = (
    "dsr", "compliance.", "exploration_rate", "flip_rate", "end_of_thinking_rate", "reasoning_tokens.mean",
    "malformed_rate", "correct.",
)  # fmt: skip


def run_task(stage: Stage, inputs: dict[str, Handle], context: RunContext) -> Handle:
    """Call the stage's Prefect task in this thread, where a time-out can stop it."""
    module = importlib.import_module(stage.module)
    function = getattr(module, "run", None) or getattr(module, f"run_{stage.name}")
    return function(stage, inputs, context)


@flow(name="sear", validate_parameters=False, persist_result=False)
def pipeline(
    config: dict[str, Any], root: str, start: str | None = None, until: str | None = None,
    fresh: bool = False, quiet: bool = False, tags: dict[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run every stage of the selection in order; returns the JSON of the contract (DESIGN: `sear run --json`).

    Raises InputError (exit 2) or whatever a stage raised (exit 1), after marking the runs FAILED.
    """
    settings = PipelineConfig.model_validate(config)
    workspace = Workspace(Path(root))
    chosen = selection(settings, tracking_uri(workspace), start, until, fresh)
    tracker = Tracker(workspace, settings.experiment)
    shared = {
        "config.sha256": settings.sha256,
        "seed": str(settings.seed),
        "prefect.flow_run_id": str(flow_run.id or ""),
        **git_tags(workspace.root),
        **(tags or {}),
    }
    name = str(flow_run.name or "sear")
    parent = tracker.start_parent(name, {**shared, "arm": ",".join(settings.arms)})
    context = RunContext(
        workspace=workspace, tracker=tracker, parent=parent, tags=shared, force=chosen.force,
        launcher=settings.launcher, progress=Progress(len(chosen.dag), quiet),
    )  # fmt: skip
    handles: dict[str, Handle] = {}
    try:
        log_config(parent, settings)
        for stage in chosen.dag:
            inputs = {need: handles[need] for need in stage.needs}
            handles[stage.name] = run_task(stage, inputs, context)
            if stage.name == "version":
                log_data(parent, context, handles["version"])
        result = summarise(settings, context, handles)
    except BaseException:
        context.progress.stop()
        tracker.end(parent.run_id, ok=False)
        raise
    tracker.end(parent.run_id, ok=True)
    return result


def log_config(parent: RunLog, settings: PipelineConfig) -> None:
    from tasks.stage import flat

    tree = settings.model_dump(mode="json")
    parent.params({k: v for k, v in flat(tree).items() if not isinstance(v, list | dict)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(tree, indent=1, sort_keys=True))
        parent.artifact(path)


def log_data(parent: RunLog, context: RunContext, version: Handle) -> None:
    """The data version as tag on every run from here, and as the parent's dataset input."""
    context.tags["dvc.md5"] = version.md5
    parent.tags({"dvc.md5": version.md5})
    parent.dataset("sources", version.md5, version.path, "training")


def summarise(settings: PipelineConfig, context: RunContext, handles: dict[str, Handle]) -> dict[str, Any]:
    """Copy the headline metrics to the parent and build the result."""
    arms = {getattr(h, "arm", ""): h.metrics for n, h in handles.items() if n.startswith("evaluation.")}
    for arm, metrics in arms.items():
        kept = {k: v for k, v in metrics.items() if k.startswith(HEADLINE)}
        context.parent.metrics({f"{arm}.{k}": v for k, v in kept.items()})
        if arm == settings.gate.candidate:
            context.parent.metrics(kept)
    report = Path(handles["report"].path) / "report.html" if "report" in handles else None
    if report is not None:
        context.parent.artifact(report)
    prepared = handles.get("prepare")
    result = {
        "schema_version": 1,
        "run_id": context.parent.run_id,
        "status": "finished",
        "data": {"dvc_md5": handles["version"].md5, "prepared_sha256": getattr(prepared, "sha256", None)},
        "stages": [asdict(outcome) for outcome in context.outcomes],
        "arms": arms,
        "report": None if report is None else str(report),
    }
    registered = handles.get("register")
    if registered is not None:
        result["model"] = registered.model_dump(include={"name", "version", "promoted", "reasons"})
        context.parent.tags({"sear.model_version": getattr(registered, "version", ""),
                             "sear.promoted": str(getattr(registered, "promoted", "")).lower()})  # fmt: skip
    return result


def run(
    settings: PipelineConfig, workspace: Workspace, start: str | None, until: str | None, fresh: bool,
    quiet: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Check writability first, so that no hour is lost to it, then run the flow."""
    for folder in (workspace.root / ".sear", workspace.mlruns):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {error.strerror}; the run keeps its store there") from None
    return pipeline(settings.model_dump(mode="json"), str(workspace.root), start, until, fresh, quiet)


