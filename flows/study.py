"""`sear study`: arms × seeds × shares of harmful prompts as one Prefect flow.

Every member is a run of one arm as far as its evaluation (flows/study_members.py); their DAGs are laid into one, in
which equal stages are one node, so that data is prepared once, and a seed's warm start and reward models serve all
of its arms. What is in the store is taken from there: a study that was stopped goes on where it was. A member that
fails is reported, the others finish.

The result is that of tasks/study_result.py, and `{study_id, members, arms, differences, shares, collapsed, report, …}`
as JSON.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows.config import PipelineConfig
from flows.fan_out import task_runner
from flows.pipeline import Node, merge, selection
from flows.references import check_suites
from flows.run import check, execute, log_config, log_data, threads, watch_for_cancellation
from flows.study_members import SFT, Wanted, member_config, members
from tasks import study as study_stage
from tasks.handles import Handle
from tasks.lineage import git_tags
from tasks.progress import Progress
from tasks.stage import RunContext, finite, prefect_task
from tasks.tracking import RunLog, Tracker
from tasks.workspace import Workspace


class Members:
    """Which node is whose, each member's MLflow run, and how it went."""

    def __init__(
        self, wanted: list[Wanted], places: list[dict[str, str]], context: RunContext, suites: list[list[str]]
    ) -> None:
        """`suites`: of each member's evaluation."""
        self.wanted, self.places, self.context, self.suites = wanted, places, context, suites
        self.prepared: dict[str, Path] = {}  # node id -> output
        self.runs: dict[int, RunLog] = {}
        self.ended: set[int] = set()
        self.errors: dict[str, Exception] = {}  # node id -> why it failed
        self.users: dict[str, list[int]] = {}
        for index, ids in enumerate(places):
            for node in ids.values():
                self.users.setdefault(node, []).append(index)

    def at(self, node: Node) -> RunContext:
        """The context of a node: under its member's run, or under the study's where it is shared."""
        users = [self.wanted[index] for index in self.users[node.id]]
        seeds, shares = {user.seed for user in users}, {user.share for user in users}
        tags = {**self.context.tags, **({"seed": str(users[0].seed)} if len(seeds) == 1 else {})}
        if not node.stage.arm:
            whose = [f"seed {users[0].seed}"] if len(seeds) == 1 else []
            whose += [f"share {users[0].share:g}"] if len(shares) == 1 and users[0].share is not None else []
            return replace(self.context, tags=tags, member=", ".join(whose))
        index = self.users[node.id][0]
        return replace(self.context, tags=tags, member=users[0].name, parent=self._run(index, tags))

    def _run(self, index: int, tags: dict[str, str]) -> RunLog:
        member = self.wanted[index]
        if index not in self.runs:
            share = {} if member.share is None else {"share": f"{member.share:g}"}
            self.runs[index] = self.context.tracker.start_member(
                member.name, self.context.parent, {**tags, "arm": member.arm, **share}
            )
        return self.runs[index]

    def done(self, node: Node, handle: Handle) -> None:
        if node.stage.name == "version":
            log_data(self.context.parent, self.context, handle)
            self.context.tags["dvc.md5"] = handle.md5
        if node.stage.name == "prepare":
            self.prepared[node.id] = Path(handle.path)
        if node.stage.name == "validate":
            for names in {tuple(self.suites[index]) for index in self.users[node.id]}:
                check_suites(names, self.prepared[node.needs["prepare"]])
        if node.stage.name.startswith("evaluation."):
            index = self.users[node.id][0]
            self.runs[index].metrics(finite(handle.metrics))
            self._end(index)

    def failed(self, node: Node, error: Exception) -> None:
        self.errors[node.id] = error
        lost = self.users[node.id]
        names = ", ".join(self.wanted[index].name for index in lost)
        self.context.progress.say(f"{node.stage.name}: failed ({error}); lost: {names}")
        for index in lost:
            self._end(index, error)

    def _end(self, index: int, error: BaseException | None = None) -> None:
        if index in self.runs and index not in self.ended:
            self.ended.add(index)
            self.context.tracker.end(self.runs[index].run_id, error)

    def end_all(self, error: BaseException) -> None:
        for index in self.runs:
            self._end(index, error)

    def error(self, index: int) -> str:
        """What a member failed of, or nothing."""
        found = {name: self.errors[node] for name, node in self.places[index].items() if node in self.errors}
        return "; ".join(f"{name}: {error}" for name, error in found.items())


@flow(name="sear study", validate_parameters=False, persist_result=False)
def study(
    config: dict[str, Any], root: str, quiet: bool = False, started: float | None = None
) -> dict[str, Any]:
    """Run every member and put them together; returns the JSON of the contract (DESIGN: `sear study --json`).

    Raises the first failure where no member finished (InputError: exit 2).
    """
    started = started or time.perf_counter()
    settings = PipelineConfig.model_validate(config)
    workspace = Workspace(Path(root))
    uri = workspace.tracking_uri
    wanted = members(settings)
    configs = [member_config(settings, member) for member in wanted]
    dags = [
        selection(config, uri, None, f"evaluation.{member.arm}", False).dag
        for config, member in zip(configs, wanted, strict=True)
    ]
    nodes, places = merge(dags)
    tracker = Tracker(workspace, settings.experiment)
    tags = {
        "config.sha256": settings.sha256,
        "prefect.flow_run_id": str(flow_run.id or ""),
        **git_tags(workspace.root),
    }
    arms = list(dict.fromkeys(member.arm for member in wanted))
    call = [root, settings.shaping(), settings.study.model_dump(mode="json"), tags["git.commit"]]
    parent = tracker.start_parent(
        str(flow_run.name or "study"), {**tags, "arm": ",".join(arms)}, kind="study",
        call=hashlib.sha256(json.dumps(call, sort_keys=True).encode()).hexdigest(),
    )  # fmt: skip
    context = RunContext(
        workspace=workspace, tracker=tracker, parent=parent, tags=tags, launcher=settings.launcher,
        limits=settings.limits, progress=Progress(len(nodes) + 1, quiet),
        threads=threads(settings),
    )  # fmt: skip
    who = Members(wanted, places, context, [config.evaluation.suites for config in configs])
    try:
        log_config(parent, settings)
        watch_for_cancellation(context, {str(flow_run.id or "")} - {""})
        handles = execute(nodes, context, settings, who.done, at=who.at, failed=who.failed)
        if not any(ids[f"evaluation.{m.arm}"] in handles for m, ids in zip(wanted, places, strict=True)):
            raise next(iter(who.errors.values()))
        report = put_together(settings, who, handles)
        parent.metrics(report.metrics)
        for name in ("study.json", "report.html", "plots"):
            path = Path(report.path) / name
            parent.artifact(path, "plots" if path.is_dir() else None)
        context.progress.stop()
    except BaseException as error:
        context.progress.stop()
        who.end_all(error)
        tracker.end(parent.run_id, error)
        raise
    tracker.end(parent.run_id, next(iter(who.errors.values()), None))
    return result(context, report, wanted, time.perf_counter() - started)


def put_together(settings: PipelineConfig, who: Members, handles: dict[str, Handle]) -> Handle:
    """The stage over all members that finished."""
    entries: list[dict[str, Any]] = []
    inputs: dict[str, Handle] = {}
    for index, (member, ids) in enumerate(zip(who.wanted, who.places, strict=True)):
        finished = ids[f"evaluation.{member.arm}"] in handles
        entries.append({
            "name": member.name, "arm": member.arm, "seed": member.seed, "share": member.share,
            "status": "finished" if finished else "failed", "error": who.error(index),
            "trained": member.arm != SFT,
        })  # fmt: skip
        if finished:
            inputs[f"evaluation: {member.name}"] = handles[ids[f"evaluation.{member.arm}"]]
            if member.arm != SFT:
                inputs[f"policy: {member.name}"] = handles[ids[f"policy.{member.arm}"]]
    shares: list[float | None] = list(settings.study.shares) or [None]
    stage = study_stage.stage(entries, settings.study.baseline, shares, settings.gate.candidate)
    return prefect_task(stage)(stage, inputs, who.context)


def result(context: RunContext, report: Handle, wanted: list[Wanted], wall: float) -> dict[str, Any]:
    """`study.json` without the curves, and what this call did. `wall`: seconds since the call."""
    found = json.loads((Path(report.path) / "study.json").read_text())
    del found["curves"], found["figures"]
    cached = sum(outcome.cached for outcome in context.outcomes)
    return {
        **found,
        "study_id": context.parent.run_id,
        "status": "finished"
        if all(m["status"] == "finished" for m in found["members"])
        else "members failed",
        "stages": {"cached": cached, "executed": len(context.outcomes) - cached},
        "report": str(Path(report.path) / "report.html"),
        "seconds": round(wall, 3),
    }


def run(settings: PipelineConfig, workspace: Workspace, quiet: bool = False) -> dict[str, Any]:
    """Check the workspace, then run the flow."""
    started = time.perf_counter()
    check(workspace)
    sized = study.with_options(task_runner=task_runner(settings, workspace))
    return sized(settings.model_dump(mode="json"), str(workspace.root), quiet, started)
