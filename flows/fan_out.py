"""Heavy stages on the workers of a Dask or Ray cluster, through Prefect's own task runners.

`[runner] kind` names the engine. Without an address a cluster of `workers` processes lives as long as the run, on
this machine alone. Light stages stay in the asker's process. A stage whose worker dies is begun again on another by
the engine; letters on the shared file system (tasks/on_worker.py) carry progress one way, life and cancellation the
other. What runs where is in no cache key.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import threading
import time
from asyncio import CancelledError
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from typing import Any, Self, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ThreadPoolTaskRunner

from flows.config import PipelineConfig, RunnerConfig
from flows.environment import defaults
from flows.pipeline import Node
from sear_core.errors import InputError
from tasks import handles, on_worker
from tasks.fingerprint import code_fingerprint, library_versions
from tasks.handles import Handle
from tasks.stage import Outcome, RunContext, StageFailed, prefect_task, shown
from tasks.workspace import Workspace

ENGINES = {"distributed", "ray"}
LAST_WORDS = 30.0  # seconds that cancelled stages have to stop in, before the cluster is left
STALE = 86400.0  # seconds after which the letters of a killed run are swept
THIS_MACHINE = ("127.0.0.1", "localhost", "[::1]")


def task_runner(settings: PipelineConfig, workspace: Workspace) -> Any:
    """Prefect's task runner for this config. Raises InputError where the extra, the cluster or a server is missing."""
    runner, workers = settings.runner, settings.workers
    if runner.kind == "threads":  # each of which drives a child process (launcher)
        return ThreadPoolTaskRunner(max_workers=workers)
    if find_spec(f"prefect_{runner.kind}") is None:
        raise InputError(
            f'runner.kind = "{runner.kind}" needs the extra `{runner.kind}`: '
            f"pip install -e '.[{runner.kind}]' -c constraints.txt"
        )
    if runner.address is not None:
        _reachable(runner, workspace)
    return _dask(runner, workers) if runner.kind == "dask" else _ray(runner, workers)


def _dask(runner: RunnerConfig, workers: int) -> Any:
    import dask
    from prefect_dask import DaskTaskRunner

    if runner.address is not None:
        return DaskTaskRunner(address=runner.address)
    dask.config.set({
        "distributed.worker.daemon": False,  # workers have children of their own
        "distributed.nanny.pre-spawn-environ": {},  # which Dask would hold to one thread
        "distributed.scheduler.http.routes": [], "distributed.worker.http.routes": [],
    })  # fmt: skip
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    own = {
        "n_workers": workers, "threads_per_worker": 1, "processes": True, "host": "127.0.0.1", "memory_limit": 0,
        "dashboard_address": None, "silence_logs": logging.CRITICAL,
        # a signal to the run's process group is the run's to answer: it tells the workers
        "preload": ["import os; os.getpgrp() == os.getpid() or os.setsid()"],
    }  # fmt: skip
    if runner.gpus:
        own["resources"] = {"GPU": runner.gpus}
    return DaskTaskRunner(cluster_kwargs=own)


def _ray(runner: RunnerConfig, workers: int) -> Any:
    # set before ray is imported: listen on this machine alone; a stage that asks for no GPU is not robbed of them
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if runner.address is None:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        # 15 by default: a stage would starve beside anything else
        os.environ.setdefault("RAY_worker_niceness", "0")
    from flows.ray_runner import QuietRayTaskRunner

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if runner.address is not None:
        return QuietRayTaskRunner(address=runner.address, init_kwargs=quiet)
    own = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": 100 << 20}
    return QuietRayTaskRunner(init_kwargs=quiet | own)


def _reachable(runner: RunnerConfig, workspace: Workspace) -> None:
    address = str(runner.address)
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"runner.address {address!r}: no {runner.kind} cluster answers there ({error}); expected such as "
            + ("tcp://HOST:8786" if runner.kind == "dask" else "ray://HOST:10001")
        ) from None
    if host in THIS_MACHINE:
        return
    if not os.environ.get("PREFECT_API_URL"):
        raise InputError(
            f"runner.address {address!r}: workers on other machines report to a Prefect server; set PREFECT_API_URL "
            "to one that they reach, or name a cluster on 127.0.0.1"
        )
    if workspace.tracking_uri.startswith("sqlite:"):
        raise InputError(
            f"runner.address {address!r}: workers on other machines cannot share MLflow's SQLite file; set "
            "MLFLOW_TRACKING_URI to a server, or name a cluster on 127.0.0.1"
        )


class FanOut:
    """A run's stages on a cluster: orders out, letters to and fro, handles back."""

    def __init__(self, settings: PipelineConfig, context: RunContext) -> None:
        self.settings, self.runner, self.context = settings, settings.runner, context
        self.folder = context.workspace.root / ".sear" / "fan-out" / context.parent.run_id
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._read: dict[str, int] = {}  # letters -> bytes that are read
        self._away: dict[PrefectFuture[str], tuple[Node, RunContext]] = {}
        self._thread = threading.Thread(target=self._correspond, daemon=True)

    def __enter__(self) -> Self:
        for old in self.folder.parent.glob("*"):
            with suppress(OSError):
                if time.time() - old.stat().st_mtime > STALE:
                    shutil.rmtree(old)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._beat(0)
        self._thread.start()
        try:
            if self.context.launcher == "process" and self.runner.address is None:
                self._warm_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        until = time.monotonic() + LAST_WORDS
        for future, (node, own) in self._away.items():
            with suppress(Exception):
                future.wait(timeout=max(0.0, until - time.monotonic()))
            with suppress(Exception):
                own.tracker.end_lost(node.stage.name, own.parent, "KILLED")
        self._over.set()
        self._thread.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    def submit(self, node: Node, inputs: Mapping[str, Handle], own: RunContext) -> PrefectFuture[str]:
        """Hand a stage to the engine; `handle` takes what comes back."""
        name = prefect_task(node.stage).name
        sent = task(name=name, cache_policy=NO_CACHE, persist_result=False)(on_worker.obey)
        with ExitStack() as stack:
            if not os.environ.get("PREFECT_API_URL"):  # workers share this run's temporary server
                with get_client(sync_client=True) as client:
                    url = str(client.api_url)
                stack.enter_context(temporary_settings({PREFECT_API_URL: url}))
            self._resources(stack)
            future = sent.submit(self.order(node, inputs, own))
        self._away[future] = (node, own)
        return future

    def _resources(self, stack: ExitStack) -> None:
        if self.runner.kind == "ray":
            from prefect_ray.context import remote_options

            stack.enter_context(remote_options(num_cpus=1, num_gpus=self.runner.gpus))
        elif self.runner.gpus:
            import dask

            stack.enter_context(dask.annotate(resources={"GPU": self.runner.gpus}))

    def order(self, node: Node, inputs: Mapping[str, Handle], own: RunContext) -> str:
        """All that a worker needs for a stage, as JSON (tasks/on_worker.py: obey)."""
        stage, workspace = node.stage, own.workspace
        names = [name for name in defaults(workspace, True) if not name.startswith("PREFECT_")]
        return json.dumps({
            "stage": stage.as_json(), "node": node.id, "shown": shown(stage, own),
            "inputs": {name: [type(h).__name__, h.model_dump(mode="json")] for name, h in inputs.items()},
            "made_of": {
                "code": code_fingerprint(stage.module, stage.resources),
                "libraries": library_versions(*stage.libraries),
            },
            "root": str(workspace.root), "folder": str(self.folder), "experiment": self.settings.experiment,
            "tracking_uri": own.tracker.uri, "parent": own.parent.run_id, "resumed": own.parent.resumed,
            "environment": {name: os.environ[name] for name in names if name in os.environ},
            "tags": own.tags, "force": sorted(own.force), "launcher": own.launcher, "threads": own.threads,
            "limits": {name: limit.model_dump(mode="json") for name, limit in own.limits.items()}, "member": own.member,
        })  # fmt: skip

    def handle(self, future: PrefectFuture[str]) -> Handle:
        """What came of a stage. Raises what the stage raised, or StageFailed where its workers died time after time."""
        node, own = self._away.pop(future)
        try:
            told = json.loads(future.result())
        except (Exception, CancelledError) as error:
            self._deliver()
            if type(error).__module__.partition(".")[0] not in ENGINES:
                raise
            own.tracker.end_lost(node.stage.name, own.parent, "FAILED")
            raise StageFailed(f"stage {node.stage.name}: lost with its workers: {error}") from error
        self._deliver()
        if self.runner.kind == "dask":  # which keeps it on its worker, and computes anew what dies there
            cast("Any", future).wrapped_future.release()
        now = time.perf_counter()
        for outcome in told["outcomes"]:
            own.outcomes.append(Outcome(**{**outcome, "core_ended": now - outcome["core_ended"]}))
        kind, fields = told["handle"]
        found: Handle = getattr(handles, kind).model_validate(fields)
        return found

    def _warm_up(self) -> None:
        """Start the workers, and the import of their libraries, before the first stage is due."""
        flow_run = FlowRunContext.get()
        assert flow_run is not None
        threads, runner = self.context.threads, cast("Any", flow_run.task_runner)
        if self.runner.kind == "dask":
            own = runner.client.scheduler_info(n_workers=-1)["workers"]
            self._warm = [
                runner.client.submit(on_worker.prepare, threads, workers=[address], pure=False)
                for address in own
            ]
        else:
            import ray

            prepare = ray.remote(on_worker.prepare)
            self._warm = [prepare.remote(threads) for _ in range(self.settings.workers)]

    def _correspond(self) -> None:
        beats = 0
        while not self._over.wait(0.5):
            with suppress(OSError):  # a shared file system may be away for a moment
                beats += 1
                self._beat(beats)
                self._deliver()

    def _beat(self, number: int) -> None:
        cancelled = self.context.why_cancelled if self.context.cancelled.is_set() else ""
        new = self.folder / f"{on_worker.PULSE}.tmp"
        new.write_text(json.dumps({"beat": number, "cancelled": cancelled}))
        new.replace(self.folder / on_worker.PULSE)

    def _deliver(self) -> None:
        """Show what the workers have told since the last time."""
        with self._lock:
            for letters in sorted(self.folder.glob("*.jsonl")):
                with letters.open("rb") as file:
                    file.seek(self._read.get(letters.name, 0))
                    lines = file.read().rpartition(b"\n")[0]
                if not lines:
                    continue
                first = letters.name not in self._read
                self._read[letters.name] = self._read.get(letters.name, 0) + len(lines) + 1
                for what, *told in map(json.loads, lines.splitlines()):
                    if what == "begin":
                        if not first:
                            self.context.progress.say(f"{told[0]}: its worker was lost; it begins again")
                        first = False
                    else:
                        getattr(self.context.progress, what)(*told)
