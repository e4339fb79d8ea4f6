"""`sear run`: the whole DAG as one Prefect flow, and its summary."""

from __future__ import annotations

import importlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.futures import PrefectFuture, as_completed
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from flows.config import PipelineConfig
from flows.pipeline import selection
from sear_core.errors import InputError
from tasks.handles import Handle
from tasks.launch import warm_up
from tasks.lineage import git_tags
from tasks.progress import Progress
from tasks.stage import RunContext, Stage, core_cover
from tasks.tracking import RunLog, Tracker, tracking_uri
from tasks.workspace import Workspace

# What the parent run carries, so that the run list is enough to compare.
HEADLINE = (
    "dsr", "compliance.", "exploration_rate", "flip_rate", "end_of_thinking_rate", "reasoning_tokens.mean",
    "malformed_rate", "correct.",
)  # fmt: skip


def prefect_task(stage: Stage) -> Any:
    """The stage's Prefect task: `run` of its module, or `run_<stage>` where a module has two."""
    module = importlib.import_module(stage.module)
    return getattr(module, "run", None) or getattr(module, f"run_{stage.name}")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def execute(
    dag: list[Stage], context: RunContext, workers: int, done: Callable[[Stage, Handle], None]
) -> dict[str, Handle]:
    """Run the stages, each as soon as what it needs is there, up to `workers` side by side.

    With one worker stages are called in this thread. Where a stage fails, the others' processes are stopped
    and their partial outputs stay for the next try; then the failure is raised.
    """
    handles: dict[str, Handle] = {}
    pending = list(dag)
    running: dict[PrefectFuture[Any], Stage] = {}
    try:
        while pending or running:
            ready = [stage for stage in pending if all(need in handles for need in stage.needs)]
            for stage in ready[: workers - len(running)]:
                pending.remove(stage)
                inputs = {need: handles[need] for need in stage.needs}
                if workers == 1:
                    handles[stage.name] = prefect_task(stage)(stage, inputs, context)
                    done(stage, handles[stage.name])
                else:
                    running[prefect_task(stage).submit(stage, inputs, context)] = stage
            if running:
                future = next(iter(as_completed(list(running))))
                stage = running.pop(future)
                handles[stage.name] = future.result()
                done(stage, handles[stage.name])
    except BaseException:
        context.cancelled.set()
        for future in running:
            future.wait()
        raise
    return handles


@flow(name="sear", validate_parameters=False, persist_result=False)
def pipeline(
    config: dict[str, Any], root: str, start: str | None = None, until: str | None = None,
    fresh: bool = False, quiet: bool = False, started: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run every stage of the selection in order; returns the JSON of the contract (DESIGN: `sear run --json`).

    Raises InputError (exit 2) or whatever a stage raised (exit 1), after marking the runs FAILED.
    """
    started = started or time.perf_counter()
    settings = PipelineConfig.model_validate(config)
    workspace = Workspace(Path(root))
    chosen = selection(settings, tracking_uri(workspace), start, until, fresh)
    tracker = Tracker(workspace, settings.experiment)
    shared = {
        "config.sha256": settings.sha256,
        "seed": str(settings.seed),
        "prefect.flow_run_id": str(flow_run.id or ""),
        **git_tags(workspace.root),
    }
    name = str(flow_run.name or "sear")
    parent = tracker.start_parent(name, {**shared, "arm": ",".join(settings.arms)})
    context = RunContext(
        workspace=workspace, tracker=tracker, parent=parent, tags=shared, force=chosen.force,
        launcher=settings.launcher, progress=Progress(len(chosen.dag), quiet),
        threads=None if settings.workers == 1 else max(1, cores() // settings.workers),
    )  # fmt: skip

    def done(stage: Stage, handle: Handle) -> None:
        if stage.name == "version":
            log_data(parent, context, handle)

    try:
        log_config(parent, settings)
        warm_up(context)
        handles = execute(chosen.dag, context, settings.workers, done)
        place = {stage.name: index for index, stage in enumerate(chosen.dag)}
        context.outcomes.sort(key=lambda outcome: place[outcome.name])
        result = summarise(settings, context, handles, time.perf_counter() - started)
        context.progress.stop()
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
    parent.tags({"dvc.md5": version.md5})
    parent.dataset("sources", version.md5, version.path, "training")


def summarise(
    settings: PipelineConfig, context: RunContext, handles: dict[str, Handle], wall: float
) -> dict[str, Any]:
    """Copy the headline metrics to the parent and build the result. `wall`: seconds since the call."""
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
        "stages": [
            {
                "name": o.name,
                "cached": o.cached,
                "seconds": o.seconds,
                "core_seconds": o.core_seconds,
                "reason": o.reason,
            }
            for o in context.outcomes
        ],
        "arms": arms,
        "report": None if report is None else str(report),
        "seconds": round(wall, 3),
        # wall time outside of the core, that is: starting up, hashing, logging, waiting
        "orchestration_share": round(1 - core_cover(context.outcomes) / wall, 3),
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
    started = time.perf_counter()
    for folder in (workspace.root / ".sear", workspace.mlruns):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be written: {error.strerror}; the run keeps its store there"
            ) from None
    runner: Any = ThreadPoolTaskRunner(max_workers=settings.workers)
    sized = pipeline.with_options(task_runner=runner)
    return sized(settings.model_dump(mode="json"), str(workspace.root), start, until, fresh, quiet, started)
