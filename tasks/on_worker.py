"""The worker's side of a stage that a Dask or Ray cluster runs: an order in, what came of it out, both JSON.

The store lies on a path that the asker and its workers share, and so do their letters (flows/fan_out.py):

    .sear/fan-out/<run>/pulse.json     by the asker: it lives; or it is cancelled, and why
    .sear/fan-out/<run>/<node>.jsonl   by the worker: what it has to tell while it works; a line `begin` per try

What a worker's death leaves is taken up by the next try: the partial output, and the MLflow run. The lock of a
dead process is free, its child ends with it (tasks/worker.py).
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.progress import Progress

if TYPE_CHECKING:
    from tasks.stage import RunContext

PULSE = "pulse.json"
PATIENCE = 120.0  # seconds without a pulse until the asker counts as gone


def obey(order: str) -> str:
    """Run the stage of an order (flows/fan_out.py: FanOut.order); `{"handle": [type, fields], "outcomes": [fields]}`.

    An outcome's `core_ended` is seconds ago: another machine has another clock. Raises what `run_stage` raises, and
    InputError where this worker does not see the project, or has other code or libraries than the asker.
    """
    told = json.loads(order)
    for name, value in told["environment"].items():  # before mlflow, prefect or transformers are imported
        os.environ.setdefault(name, value)
    os.environ["MLFLOW_TRACKING_URI"] = told["tracking_uri"]
    folder = Path(told["folder"])
    if not (folder / PULSE).is_file():
        from sear_core.errors import InputError

        raise InputError(
            f"worker on {platform.node()}: {told['root']} is not the project's folder here; expected it on a shared "
            "file system, under the same path on every machine"
        )
    from tasks import processes
    from tasks.launch import warm_up
    from tasks.stage import Outcome, Stage, prefect_task

    stage = Stage.from_json(told["stage"])
    _same_code(stage, told)
    processes.own()
    letters = folder / f"{told['node']}.jsonl"
    context = _context(told, letters)
    with _listening(folder / PULSE, context):
        warm_up(context)
        handle = prefect_task(stage).fn(stage, _inputs(told), context)
    outcomes: list[Outcome] = context.outcomes
    return json.dumps({
        "handle": [type(handle).__name__, handle.model_dump(mode="json")],
        "outcomes": [{**vars(o), "core_ended": time.perf_counter() - o.core_ended} for o in outcomes],
    })  # fmt: skip


def prepare(threads: int | None) -> None:
    """Import the libraries into this worker's fork server, while the first stages still run elsewhere."""
    from tasks.launch import preload

    preload(threads)


def _same_code(stage: Any, told: dict[str, Any]) -> None:
    """Raise InputError where this worker would compute something else under the same name."""
    from sear_core.errors import InputError
    from tasks.cache import describe_changes
    from tasks.fingerprint import code_fingerprint, library_versions

    here = {
        "code": code_fingerprint(stage.module, stage.resources),
        "libraries": library_versions(*stage.libraries),
    }
    changes = describe_changes(told["made_of"], here)
    if changes:
        raise InputError(
            f"worker on {platform.node()}: not the code and libraries of this call, {stage.name} would be another "
            f"({'; '.join(changes)}); expected the same checkout and constraints.txt on every machine"
        )


def _inputs(told: dict[str, Any]) -> dict[str, Any]:
    from tasks import handles

    return {n: getattr(handles, kind).model_validate(h) for n, (kind, h) in told["inputs"].items()}


def _context(told: dict[str, Any], letters: Path) -> RunContext:
    from tasks.config import StageLimits
    from tasks.stage import RunContext
    from tasks.tracking import RunLog, Tracker
    from tasks.workspace import Workspace

    before = _tries(letters)
    relay = Relay(letters)
    relay.tell("begin", told["shown"])
    workspace = Workspace(Path(told["root"]))
    tracker = Tracker(workspace, told["experiment"])
    # the child run of a try that was lost is taken up, as in a run that was interrupted
    parent = RunLog(tracker.client, told["parent"], max(told["resumed"], min(before, 1)))
    return RunContext(
        workspace=workspace, tracker=tracker, parent=parent, progress=relay, tags=told["tags"],
        force=frozenset(told["force"]), launcher=told["launcher"], threads=told["threads"], member=told["member"],
        limits={name: StageLimits.model_validate(limit) for name, limit in told["limits"].items()}, lost=before,
    )  # fmt: skip


def _tries(letters: Path) -> int:
    """How often this order was begun before."""
    if not letters.exists():
        return 0
    return sum(json.loads(line)[0] == "begin" for line in letters.read_text().splitlines())


class Relay(Progress):
    """Progress that is written down, for the asker to show."""

    def __init__(self, path: Path) -> None:
        self.path = path  # no bars of its own, nothing to stop
        self._last = 0.0

    def tell(self, *what: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(what) + "\n")

    def start(self, name: str, reason: str) -> None:
        self.tell("start", name, reason)

    def update(self, name: str, done: int, total: int) -> None:
        if time.monotonic() - self._last > 1:
            self._last = time.monotonic()
            self.tell("update", name, done, total)

    def finish(self, name: str, cached: bool, seconds: float) -> None:
        self.tell("finish", name, cached, seconds)

    def say(self, text: str) -> None:
        self.tell("say", text)

    def stop(self) -> None:
        """Nothing is shown here."""


@contextmanager
def _listening(pulse: Path, context: RunContext) -> Iterator[None]:
    """Cancel the context once the asker says so, or is not heard of for PATIENCE seconds."""
    over = threading.Event()

    def cancel(why: str) -> None:
        context.why_cancelled = why
        context.cancelled.set()

    def listen() -> None:
        last, heard = "", time.monotonic()
        while not over.wait(0.5):
            try:
                text = pulse.read_text()
            except FileNotFoundError:
                return cancel("the run that asked for it has ended")
            except OSError:  # a shared file system may be away for a moment
                text = last
            if text != last:
                last, heard = text, time.monotonic()
                if why := json.loads(text)["cancelled"]:
                    return cancel(why)
            elif time.monotonic() - heard > PATIENCE:
                return cancel(f"nothing was heard of the run that asked for it for {PATIENCE:.0f} s")

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
