"""How a stage runs: look in the store, compute where it must, hash and rename, log a child run either way.

A stage module offers a plain function `compute(job: Job) -> dict` that writes into `job.out` and returns metrics;
`run_stage` is the rest, the same for all. Take Prefect away and it still works.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from tasks import handles
from tasks.cache import Lookup, Parts, Store
from tasks.config import StageLimits
from tasks.fingerprint import code_fingerprint, library_versions
from tasks.handles import Handle
from tasks.progress import Progress
from tasks.tracking import CACHED_TAG, KEY_TAG, RETRIES_TAG, RunLog, Stopped, Tracker
from tasks.workspace import Workspace


class StageFailed(RuntimeError):
    """A stage or a gate failed; its text says what and why. Exit code 1."""


class Transient(StageFailed):
    """A failure that another try may not meet: a time-out, a process that was killed, a fault that nobody foresaw."""


@dataclass(frozen=True)
class Stage:
    """One node of the DAG.

    name: unique in the DAG, `<noun>` or `<noun>.<arm>`; module: its home on the task floor; section: all config
    that shapes its output, JSON; needs: the stages whose handles it takes; essential: prefixes of the output
    that later stages read.
    """

    name: str
    module: str
    handle: type[Handle]
    section: dict[str, Any]
    needs: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    essential: tuple[str, ...] = ()
    compute: str = "compute"
    state: str = ""  # function of the module: what lies outside section and inputs, {name: hash}
    resources: tuple[str, ...] = ()  # other files of the checkout that shape the output, by glob
    artifacts: tuple[str, ...] = ()  # files or folders of the output that MLflow keeps too
    arm: str = ""
    heavy: bool = False  # may run under a launcher, and goes on from what a broken-off try has left
    unkeyed: tuple[str, ...] = ()  # needs that do a part of its work beforehand, and shape nothing of it
    shard_of: str = ""  # the stage whose work it does a part of, on its section (and `shard`) and its inputs

    def as_json(self) -> dict[str, Any]:
        """For a worker; `from_json` reads it."""
        return {**vars(self), "handle": self.handle.__name__}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Stage:
        lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        return cls(**{**fields, **lists, "handle": getattr(handles, fields["handle"])})

    def parts(self, inputs: Mapping[str, Handle], workspace: Workspace) -> Parts:
        outside = (
            getattr(importlib.import_module(self.module), self.state)(self, inputs, workspace)
            if self.state
            else {}
        )
        return Parts(
            stage=self.name,
            section=self.section,
            inputs={name: inputs[name].md5 for name in self.needs if name not in self.unkeyed} | outside,
            code=code_fingerprint(self.module, self.resources),
            libraries=library_versions(*self.libraries),
        )


@dataclass(frozen=True)
class Job:
    """What a stage's compute function is given; `log` writes to its child run, `progress(done, total)` to the user."""

    name: str
    arm: str
    section: dict[str, Any]
    inputs: dict[str, Handle]
    out: Path
    root: Path
    key: str = ""  # of the output in the store
    log: RunLog | None = None
    progress: Callable[[int, int], None] = lambda done, total: None


@dataclass
class Outcome:
    """How a stage went, for the summary, the plan and the JSON."""

    name: str
    cached: bool
    seconds: float
    reason: str
    core_seconds: float = 0.0  # of them inside the core
    core_ended: float = 0.0  # on the clock of time.perf_counter


@dataclass
class RunContext:
    """What all stages of one flow run share."""

    workspace: Workspace
    tracker: Tracker
    parent: RunLog
    progress: Progress
    tags: dict[str, str] = field(default_factory=dict)
    force: frozenset[str] = frozenset()  # stages to compute anew
    launcher: str = "inprocess"
    limits: Mapping[str, StageLimits] = field(default_factory=dict)  # by stage, or by noun for all its arms
    threads: int | None = None  # of torch, in every child process; None: its own choice
    cancelled: threading.Event = field(default_factory=threading.Event)  # all stages are to stop
    why_cancelled: str = "another stage failed"
    outcomes: list[Outcome] = field(default_factory=list)
    member: str = ""  # of a study: tells its stages from another's of the same name
    lost: int = 0  # tries of this stage that ended with their worker

    @property
    def store(self) -> Store:
        return Store(self.workspace.store, self.workspace.locks)

    def limit(self, stage: Stage) -> StageLimits:
        name = stage.shard_of or stage.name
        return self.limits.get(name) or self.limits.get(name.partition(".")[0]) or StageLimits()


def lookup(stage: Stage, parts: Parts, store: Store, force: frozenset[str]) -> Lookup:
    """The cached entry of a stage, verified; or why it must run. A shard of what is there is not needed."""
    if stage.name in force:
        return Lookup(None, "asked to run anew")
    if stage.shard_of:
        section = {key: value for key, value in parts.section.items() if key != "shard"}
        whole = store.lookup(replace(parts, stage=stage.shard_of, section=section))
        if whole.hit is not None:
            handle = {key: whole.hit["handle"][key] for key in ("path", "md5", "run_id")}
            return Lookup({"handle": handle}, f"{stage.shard_of} is there")
    found = store.lookup(parts)
    if found.hit is not None:
        try:
            handle_from(stage, found.hit, store.out(parts))
        except ValidationError:
            return Lookup(None, "cached handle is of another schema")
    return found


def handle_from(stage: Stage, entry: Mapping[str, Any], out: Path) -> Handle:
    """The typed handle of an entry; a relative path means: where the store lies now."""
    path = Path(entry["handle"]["path"])
    return stage.handle.model_validate({**entry["handle"], "path": str(path if path.is_absolute() else out)})


def call_compute(module: str, compute: str, job: Job) -> dict[str, Any]:
    """Call a stage's compute function with the libraries' bars and deprecation notices off."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        return getattr(importlib.import_module(module), compute)(job)


def prefect_task(stage: Stage) -> Any:
    """The stage's Prefect task: `run` of its module, or `run_<stage>` where a module has two."""
    module = importlib.import_module(stage.module)
    return getattr(module, "run", None) or getattr(module, f"run_{stage.name}")


def shown(stage: Stage, context: RunContext) -> str:
    """What people see of a stage: its name, and in a study whose it is."""
    return f"{stage.name} ({context.member})" if context.member else stage.name


def run_stage(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """Run one stage or take it from the store; returns its handle.

    Raises what `launch` raises (InputError: exit 2; StageFailed and the rest: exit 1); then the partial
    output of a heavy stage stays for the next try and nothing is believed. Light ones begin with nothing.
    """
    from tasks.launch import launch

    started, core_seconds, core_ended = time.perf_counter(), 0.0, 0.0
    store, parts, name = context.store, stage.parts(inputs, context.workspace), shown(stage, context)
    tags = {**context.tags, **({"arm": stage.arm} if stage.arm else {}), KEY_TAG: parts.key}
    with (
        alone(store.lock(parts), name, context),
        context.tracker.child(stage.name, context.parent, tags) as log,
    ):
        if context.lost:
            log.tags({RETRIES_TAG: context.lost})
        found = lookup(stage, parts, store, context.force)
        if found.hit is not None:
            handle = handle_from(stage, found.hit, store.out(parts))
            if handle.run_id != log.run_id:
                log.tags({CACHED_TAG: handle.run_id})
            elif log.resumed:  # killed after the commit, perhaps before all was logged
                log_artifacts(log, stage, Path(store.out(parts)))
        else:
            context.progress.start(name, found.reason)
            partial = store.partial(parts)
            if stage.name in context.force or not stage.heavy:
                shutil.rmtree(partial, ignore_errors=True)
            (partial / "out").mkdir(parents=True, exist_ok=True)
            job = Job(
                name=stage.name, arm=stage.arm, section=stage.section, inputs=dict(inputs),
                out=partial / "out", root=context.workspace.root, key=parts.key, log=log,
                progress=lambda done, total: context.progress.update(name, done, total),
            )  # fmt: skip
            log.params({k: v for k, v in flat(stage.section).items() if not isinstance(v, list | dict)})
            result = with_retries(stage, job, context, launch)
            core_seconds, core_ended = result.pop("core_seconds"), time.perf_counter()
            shutil.rmtree(partial / "out" / "checkpoints", ignore_errors=True)
            entry = store.commit(parts, {"path": "out", **result, "run_id": log.run_id}, stage.essential)
            handle = handle_from(stage, entry, store.out(parts))
            log_artifacts(log, stage, Path(store.out(parts)))
        log.summary(handle.metrics)
        seconds = time.perf_counter() - started
        outcome = Outcome(
            name,
            found.hit is not None,
            round(seconds, 3),
            found.reason,
            round(core_seconds, 3),
            core_ended,
        )
        context.outcomes.append(outcome)
        context.progress.finish(outcome.name, outcome.cached, outcome.seconds)
    return handle


@contextmanager
def alone(lock: FileLock, name: str, context: RunContext) -> Iterator[None]:
    """Hold a stage's lock: of several runs that want the same output one computes it, the others take it."""
    waiting = False
    while True:
        if context.cancelled.is_set():
            raise Stopped(f"stage {name}: stopped while it waited for another run")
        try:
            lock.acquire(timeout=1 if waiting else 0)
            break
        except Timeout:
            if not waiting:
                context.progress.say(f"{name}: another run is computing the same; waiting for it")
            waiting = True
    try:
        yield
    finally:
        lock.release()


def with_retries(
    stage: Stage, job: Job, context: RunContext, launch: Callable[[Stage, Job, RunContext], dict[str, Any]]
) -> dict[str, Any]:
    """`launch`, and again after a Transient failure as often as the stage's limits say."""
    tries = context.limit(stage).retries + 1
    for number in range(1, tries + 1):
        try:
            return launch(stage, job, context)
        except Transient as error:
            if number == tries or context.cancelled.is_set():
                raise
            context.progress.say(f"{error}; try {number + 1} of {tries}")
            if job.log is not None:
                job.log.tags({RETRIES_TAG: context.lost + number})
                job.log.again()
    raise AssertionError("unreachable")


def core_cover(outcomes: Iterable[Outcome]) -> float:
    """Seconds during which at least one stage was inside the core: the union of their intervals."""
    spans = sorted((o.core_ended - o.core_seconds, o.core_ended) for o in outcomes if o.core_seconds)
    covered, reached = 0.0, 0.0
    for begin, end in spans:
        covered += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return covered


def log_artifacts(log: RunLog, stage: Stage, out: Path) -> None:
    """Keep a stage's small outputs in MLflow; never the weights, which the registry holds once."""
    for name in stage.artifacts:
        path = out / name
        if path.exists():
            log.artifact(path, name if path.is_dir() else None)


def finite(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among metrics; what could not be scored (NaN) is left out, never made 0."""
    return {k: float(v) for k, v in metrics.items() if isinstance(v, int | float) and math.isfinite(v)}


def flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'a.b': value}: one level of dotted names, for params and reasons."""
    found: dict[str, Any] = {}
    for key, value in section.items():
        name = f"{prefix}{key}"
        found.update(flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return found


def write_json(path: Path, value: Any) -> None:
    """Write JSON under a temporary name, then rename."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")  # several processes may write the same
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True))
    temporary.rename(path)
