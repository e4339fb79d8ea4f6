"""`sear evaluate`: any model on the suites of a config; or a finished evaluation's completions, judged anew.

The stages that the suites and the judge need come from the pipeline (and its store); the evaluation itself is one
more stage, so it is kept, found again, and goes on where it was broken off.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows.config import PipelineConfig
from flows.evaluations import KINDS, evaluations_of
from flows.fan_out import task_runner
from flows.models import Found
from flows.pipeline import merge, stages
from flows.run import check, execute, log_config, log_data, threads
from sear_core.errors import InputError
from tasks import evaluation
from tasks.config import EvaluationConfig, ModelConfig
from tasks.lineage import git_tags
from tasks.progress import Progress
from tasks.stage import RunContext, Stage, finite
from tasks.tracking import Tracker
from tasks.workspace import Workspace


def slug(label: str) -> str:
    """A label as a part of stage names and folders."""
    return re.sub(r"[^\w-]+", "_", label).strip("_")[-60:] or "model"


def plan(
    settings: PipelineConfig, uri: str, model: Mapping[str, Any] | None, sources: Mapping[str, str]
) -> tuple[list[Stage], list[str]]:
    """The stages, each after what it needs, and the names of the evaluations among them.

    model: {"label", "path", …} of ModelConfig; sources: {arm: directory} of evaluations to be judged anew.
    """
    steps, seed = settings.policy.max_steps, settings.seed
    if model is not None:
        options = ModelConfig.model_validate({k: v for k, v in model.items() if k != "label"})
        whole = evaluation.external_stage(slug(model["label"]), settings.evaluation, options, seed, steps)
        last = evaluation.sharded(whole, settings.evaluation.shards)
    else:
        last = [
            evaluation.rejudge_stage(slug(arm), settings.evaluation, Path(path), steps)
            for arm, path in sources.items()
        ]
    needed = {need for stage in last for need in stage.needs}
    dag = stages(settings, uri)
    for stage in reversed(dag):
        if stage.name in needed:
            needed.update(stage.needs)
    names = [stage.name for stage in last if not stage.shard_of]
    return [*(stage for stage in dag if stage.name in needed), *last], names


@flow(name="sear evaluate", validate_parameters=False, persist_result=False)
def evaluate_flow(
    config: dict[str, Any], root: str, model: dict[str, Any] | None, sources: dict[str, str],
    quiet: bool = False, started: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Evaluate, or judge anew; returns the JSON of the contract (DESIGN: `sear evaluate --json`).

    Raises InputError (exit 2) or whatever a stage raised (exit 1), after marking the runs FAILED.
    """
    started = started or time.perf_counter()
    settings = PipelineConfig.model_validate(config)
    workspace = Workspace(Path(root))
    dag, names = plan(settings, workspace.tracking_uri, model, sources)
    tracker = Tracker(workspace, settings.experiment)
    tags = {
        "config.sha256": settings.sha256, "seed": str(settings.seed),
        "prefect.flow_run_id": str(flow_run.id or ""), **git_tags(workspace.root),
    }  # fmt: skip
    about = {"sear.model": model["label"]} if model else {"sear.rejudged": ", ".join(sources)}
    arms = ",".join(name.removeprefix("evaluation.") for name in names)
    parent = tracker.start_parent(
        str(flow_run.name or "evaluate"), {**tags, **about, "arm": arms}, kind="evaluation"
    )
    context = RunContext(
        workspace=workspace, tracker=tracker, parent=parent, tags=tags, launcher=settings.launcher,
        progress=Progress(len(dag), quiet),
        threads=threads(settings),
    )  # fmt: skip

    def done(node: Any, handle: Any) -> None:
        if node.stage.name == "version":
            log_data(parent, context, handle)

    try:
        log_config(parent, settings)
        nodes, _ = merge([dag])
        found = execute(nodes, context, settings, done)
        handles = {node.stage.name: found[node.id] for node in nodes}
        evaluations = {name.removeprefix("evaluation."): handles[name] for name in names}
        metrics = _metrics({arm: handle.metrics for arm, handle in evaluations.items()})
        parent.metrics(finite(metrics))
        context.progress.stop()
    except BaseException as error:
        context.progress.stop()
        tracker.end(parent.run_id, error)
        raise
    tracker.end(parent.run_id)
    return {
        "schema_version": 1,
        "run_id": parent.run_id,
        "model": model["label"] if model else None,
        "judge": settings.evaluation.judge.kind,
        "metrics": metrics,
        "evaluations": {arm: handle.path for arm, handle in evaluations.items()},
        "cached": all(o.cached for o in context.outcomes if o.name in names),
        "seconds": round(time.perf_counter() - started, 3),
    }


def _metrics(arms: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Those of the only evaluation; of several each under its arm's name, as a pipeline's run has them."""
    if len(arms) == 1:
        return dict(next(iter(arms.values())))
    return {f"{arm}.{name}": value for arm, metrics in arms.items() for name, value in metrics.items()}


def evaluate(
    settings: PipelineConfig, workspace: Workspace, found: Found, *, revision: str | None = None,
    dtype: str | None = None, trust_remote_code: bool = False, quiet: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Evaluate a model; dtype None: that of the config's warm start."""
    model = {
        "label": found.label, "path": found.path, "revision": revision, "trust_remote_code": trust_remote_code,
        "dtype": dtype or settings.warm_start.model.dtype,
    }  # fmt: skip
    return _run(settings, workspace, model, {}, quiet)


def rejudge(
    settings: PipelineConfig, workspace: Workspace, source: str, quiet: bool = False
) -> dict[str, Any]:
    """Judge anew: a run's evaluations (id, prefix or name), or an evaluation's directory or completions file."""
    return _run(settings, workspace, None, _sources(source, workspace), quiet)


def _run(
    settings: PipelineConfig, workspace: Workspace, model: dict[str, Any] | None, sources: dict[str, str],
    quiet: bool,
) -> dict[str, Any]:  # fmt: skip
    started = time.perf_counter()
    check(workspace)
    sized = evaluate_flow.with_options(task_runner=task_runner(settings, workspace))
    return sized(settings.model_dump(mode="json"), str(workspace.root), model, sources, quiet, started)


def _sources(source: str, workspace: Workspace) -> dict[str, str]:
    path = Path(source).expanduser()
    if path.exists():
        folder = path.parent if path.name == "completions.parquet" else path
        if not (folder / "completions.parquet").is_file():
            raise InputError(
                f"{source}: no completions.parquet there; expected the directory of an evaluation"
            )
        return {"rejudged": str(folder.resolve())}
    from mlflow import MlflowClient

    from flows.compare import find, runs_of

    client = MlflowClient(workspace.tracking_uri)
    run = find(runs_of(client, KINDS), source)
    found = evaluations_of(client, run, workspace.store)
    if not found:
        raise InputError(
            f"run {run.info.run_id[:8]}: no evaluation of it is in {workspace.store}; give the path of one"
        )
    return {arm: str(folder) for arm, folder in found.items()}


def with_judge(settings: PipelineConfig, kind: str | None) -> PipelineConfig:
    """The config with another judge. Raises InputError for an unknown kind."""
    if kind is None:
        return settings
    from pydantic import ValidationError

    judge = settings.evaluation.judge.model_dump() | {"kind": kind}
    try:
        section = EvaluationConfig.model_validate(settings.evaluation.model_dump() | {"judge": judge})
    except ValidationError as error:
        raise InputError(f"--judge {kind!r}: {error.errors()[0]['msg']}") from None
    return settings.model_copy(update={"evaluation": section})


def details(folder: str | Path) -> dict[str, Any]:
    """{"evaluation", "slices", "curves"}: what an evaluation's directory says beside its metrics."""
    return {
        name: json.loads((Path(folder) / f"{name}.json").read_text("utf-8"))
        for name in ("evaluation", "slices", "curves")
    }
