"""`sear run`: the whole DAG as one Prefect flow, and its summary."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.futures import PrefectFuture, as_completed
from prefect.runtime import flow_run
from prefect.states import Cancelled

from flows import services, temporary_server
from flows.config import PipelineConfig
from flows.fan_out import FanOut, task_runner
from flows.pipeline import Node, merge, selection
from flows.references import check_suites
from sear_core.errors import InputError
from tasks import processes
from tasks.cache import Store
from tasks.handles import Handle
from tasks.launch import warm_up
from tasks.lineage import environment, git_tags, tree_patch
from tasks.progress import Progress
from tasks.stage import RunContext, core_cover, prefect_task
from tasks.tracking import STAGE_TAG, RunLog, Stopped, Tracker, is_interruption
from tasks.workspace import Workspace

# What the parent run carries, so that the run list is enough to compare.
HEADLINE = (
    "dsr", "compliance.", "exploration_rate", "flip_rate", "end_of_thinking_rate", "reasoning_tokens.mean",
    "malformed_rate", "correct.", "accuracy", "perplexity", "bits_per_byte", "minimum_detectable.", "worst_slice.",
    "reward_agreement", "overpaid_rate", "value_agreement",
)  # fmt: skip


CANCELLED = "the flow run was cancelled in Prefect"


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads(settings: PipelineConfig) -> int | None:
    """Of torch in each of the stages that run side by side on this machine; None: the library's own choice."""
    if settings.runner.threads is not None:
        return settings.runner.threads
    if settings.runner.address is not None or (settings.workers == 1 and settings.runner.kind == "threads"):
        return None
    return max(1, cores() // settings.workers)


def execute(
    nodes: Sequence[Node], context: RunContext, settings: PipelineConfig, done: Callable[[Node, Handle], None], *,
    at: Callable[[Node], RunContext] | None = None,
    failed: Callable[[Node, Exception], None] | None = None,
) -> dict[str, Handle]:  # fmt: skip
    """Run the nodes, each as soon as what it needs is there, up to `workers` side by side; {node id: handle}.

    With one worker stages are called in this thread; on a cluster the light ones are. `at` gives a node a context
    of its own. Where a stage fails and `failed` is given, it is told, what hangs on the stage is left out, and the
    rest goes on. Otherwise, and on any interruption, the others' processes are stopped and their partial outputs
    stay for the next try; then the failure is raised.
    """
    if settings.runner.kind == "threads":
        warm_up(context)
        return _execute(nodes, context, settings.workers, None, done, at, failed)
    with FanOut(settings, context) as cluster:
        return _execute(nodes, context, settings.workers, cluster, done, at, failed)


def _execute(
    nodes: Sequence[Node], context: RunContext, workers: int, cluster: FanOut | None,
    done: Callable[[Node, Handle], None], at: Callable[[Node], RunContext] | None,
    failed: Callable[[Node, Exception], None] | None,
) -> dict[str, Handle]:  # fmt: skip
    handles: dict[str, Handle] = {}
    lost: set[str] = set()
    pending = list(nodes)
    running: dict[PrefectFuture[Any], Node] = {}

    def finish(node: Node, result: Callable[[], Handle]) -> None:
        try:
            handle = result()
        except Exception as error:
            if failed is None or is_interruption(error):
                raise
            lost.add(node.id)
            failed(node, error)
        else:
            handles[node.id] = handle
            done(node, handle)

    try:
        while pending or running:
            gone = [node for node in pending if lost.intersection(node.needs.values())]
            lost.update(node.id for node in gone)
            pending = [node for node in pending if node.id not in lost]
            ready = (node for node in pending if handles.keys() >= set(node.needs.values()))
            # light stages run in this process, one at a time: Great Expectations is not thread-safe
            light = any(not node.stage.heavy for node in running.values())
            chosen = next((node for node in ready if node.stage.heavy or not light), None)
            if chosen is not None and len(running) < workers:
                pending.remove(chosen)
                task, own = prefect_task(chosen.stage), at(chosen) if at else context
                inputs = inputs_of(chosen, handles)
                if cluster is not None and chosen.stage.heavy:
                    running[cluster.submit(chosen, inputs, own)] = chosen
                elif cluster is not None or workers == 1:
                    finish(chosen, partial(task, chosen.stage, inputs, own))
                else:
                    running[task.submit(chosen.stage, inputs, own)] = chosen
            elif running:
                future = next(iter(as_completed(list(running))))
                finish(running.pop(future), partial(cluster.handle, future) if cluster else future.result)
    except BaseException:
        context.cancelled.set()
        for future in running if cluster is None else ():  # a cluster's own are waited for when it is left
            future.wait()
        raise
    return handles


def inputs_of(node: Node, handles: Mapping[str, Handle]) -> dict[str, Handle]:
    """The stage's inputs under the names that it knows."""
    return {need: handles[other] for need, other in node.needs.items()}


@flow(name="sear", validate_parameters=False, persist_result=False)
def pipeline(
    config: dict[str, Any], root: str, start: str | None = None, until: str | None = None,
    fresh: bool = False, quiet: bool = False, started: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run every stage of the selection in order; returns the JSON of the contract (DESIGN: `sear run --json`).

    Where the same call was interrupted before, its MLflow run is taken up. Raises InputError (exit 2) or whatever
    a stage raised (exit 1), after marking the runs FAILED, or KILLED where they were interrupted.
    """
    started = started or time.perf_counter()
    settings = PipelineConfig.model_validate(config)
    workspace = Workspace(Path(root))
    chosen = selection(settings, workspace.tracking_uri, start, until, fresh)
    tracker = Tracker(workspace, settings.experiment)
    shared = {
        "config.sha256": settings.sha256,
        "seed": str(settings.seed),
        "prefect.flow_run_id": str(flow_run.id or ""),
        **git_tags(workspace.root),
    }
    name = str(flow_run.name or "sear")
    call = [root, settings.sha256, start, until, fresh, shared["git.commit"]]
    parent = tracker.start_parent(
        name,
        {**shared, "arm": ",".join(settings.arms)},
        call=hashlib.sha256(json.dumps(call).encode()).hexdigest(),
    )
    # what the interrupted run has begun it has begun anew already
    begun = (
        {run.data.tags.get(STAGE_TAG) for run in tracker.children(parent.run_id)} if parent.resumed else set()
    )
    context = RunContext(
        workspace=workspace, tracker=tracker, parent=parent, tags=shared, force=chosen.force - begun,
        launcher=settings.launcher, limits=settings.limits, progress=Progress(len(chosen.dag), quiet),
        threads=threads(settings),
    )  # fmt: skip

    prepared: dict[str, Path] = {}
    evaluates = any(stage.name.startswith("evaluation.") for stage in chosen.dag)

    def done(node: Node, handle: Handle) -> None:
        if node.stage.name == "version":
            log_data(parent, context, handle)
        if node.stage.name == "prepare":
            prepared[node.id] = Path(handle.path)
        if node.stage.name == "validate" and evaluates:
            check_suites(settings.evaluation.suites, prepared[node.needs["prepare"]])

    try:
        if parent.resumed:
            context.progress.say(f"goes on with the interrupted run {parent.run_id[:8]}")
        log_config(parent, settings, tree_patch(workspace.root) if shared["git.dirty"] == "true" else "")
        watch_for_cancellation(context, {str(flow_run.id or ""), str(flow_run.root_flow_run_id or "")} - {""})
        nodes, _ = merge([chosen.dag])
        found = execute(nodes, context, settings, done)
        handles = {node.stage.name: found[node.id] for node in nodes}
        place = {stage.name: index for index, stage in enumerate(chosen.dag)}
        context.outcomes.sort(key=lambda outcome: place[outcome.name])
        result = summarise(settings, context, handles, time.perf_counter() - started)
        context.progress.stop()
    except BaseException as error:
        context.progress.stop()
        if isinstance(error, Stopped) and context.why_cancelled == CANCELLED:
            error.flow_run_id = str(flow_run.id)
        tracker.end(parent.run_id, error)
        raise
    tracker.end(parent.run_id)
    return result


def watch_for_cancellation(context: RunContext, flow_runs: Iterable[str], seconds: float = 5.0) -> None:
    """Stop the stages' processes once the flow run, or the one that it is part of, is cancelled in Prefect's UI.

    Prefect itself stops only what its runners and workers have started. The temporary server has no UI.
    """
    if not os.environ.get("PREFECT_API_URL"):
        return

    def watch() -> None:
        with get_client(sync_client=True) as client:
            while not context.cancelled.wait(seconds):
                with suppress(Exception):  # a server that is away for a moment cancels nothing
                    states = [client.read_flow_run(UUID(name)).state for name in flow_runs]
                    if any(state and (state.is_cancelling() or state.is_cancelled()) for state in states):
                        context.why_cancelled = CANCELLED
                        context.cancelled.set()

    threading.Thread(target=watch, daemon=True).start()


def log_config(parent: RunLog, settings: PipelineConfig, patch: str = "") -> None:
    """What reproduces the run beside its commit: config, libraries and hardware, and what was not committed."""
    from tasks.stage import flat

    tree = settings.model_dump(mode="json")
    parent.params({k: v for k, v in flat(tree).items() if not isinstance(v, list | dict)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(tree, indent=1, sort_keys=True))
        parent.artifact(path)
    parent.text(json.dumps(environment(), indent=1, sort_keys=True), "environment.json")
    if patch:
        parent.text(patch, "tree.patch")


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
        result["model"] = registered.model_dump(include={"name", "version", "passed", "promoted", "reasons"})
        context.parent.tags({"sear.model_version": getattr(registered, "version", ""),
                             "sear.promoted": str(getattr(registered, "promoted", "")).lower(),
                             "gate": "passed" if getattr(registered, "passed", False) else "failed",
                             "gate.reasons": "; ".join(getattr(registered, "reasons", []))[:5000]})  # fmt: skip
    return result


def run(
    settings: PipelineConfig, workspace: Workspace, start: str | None, until: str | None, fresh: bool,
    quiet: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Check the store's folders and the servers first, so that no hour is lost to them, then run the flow."""
    started = time.perf_counter()
    check(workspace)
    sized = pipeline.with_options(task_runner=task_runner(settings, workspace))
    try:
        return sized(
            settings.model_dump(mode="json"), str(workspace.root), start, until, fresh, quiet, started
        )
    except Stopped as error:
        settle(error)
        raise


def settle(error: Stopped) -> None:
    """A flow run that was cancelled in Prefect becomes Cancelled there: from Cancelling on its engine fails nothing."""
    if error.flow_run_id:
        with (
            suppress(Exception),
            get_client(sync_client=True) as client,
        ):  # the server's own time-out does it later
            client.set_flow_run_state(UUID(error.flow_run_id), Cancelled(message=str(error)), force=True)


def check(workspace: Workspace) -> None:
    """Raise InputError where a folder cannot be written or a server does not answer; sweep what a kill left."""
    for folder in (workspace.root / ".sear", workspace.mlruns):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be written: {error.strerror}; the run keeps its store there"
            ) from None
    services.require(
        services.prefect(os.environ.get("PREFECT_API_URL", ""), workspace.prefect_home),
        services.mlflow_store(workspace.tracking_uri),
    )
    temporary_server.prepare()
    processes.sweep(workspace.root)
    Store(workspace.store, workspace.locks).sweep()
