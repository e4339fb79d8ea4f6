"""Where a heavy stage runs: in this process, in a child process, or under `accelerate launch`.

A stage with a time-out always has one.
A child is given a job file and writes a result file (tasks/worker.py). It gives GPU memory back, can be stopped
with all that it started, and several can run at once. `process` forks it from a server that has imported torch,
transformers and trl once; `accelerate` starts a fresh interpreter through accelerate's own launcher.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.stage import Job, RunContext, Stage

POLL_SECONDS = 0.1
STOP_SECONDS = 1.0


def warm_up(context: RunContext) -> None:
    """Start the fork server early: it imports the libraries while the light stages run. Checks accelerate's file."""
    if context.launcher == "accelerate":
        accelerate_options()
    if context.launcher == "process":
        preload(context.threads)


def preload(threads: int | None) -> None:
    """Start the fork server, of which the libraries take `threads` threads; once per process."""
    if threads:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    from tasks.worker import PRELOAD

    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOAD)
    from multiprocessing import resource_tracker
    from multiprocessing.forkserver import ensure_running

    resource_tracker.ensure_running()  # its start ends with both signals let through
    # A signal to the whole process group is the run's to answer: the server would die of it, and its children
    # look as if they had. It ends when the run does. What is blocked here is blocked there.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def launch(stage: Stage, job: Job, context: RunContext) -> dict[str, Any]:
    """Compute a stage and return its result: {"metrics": {…}, further handle fields, "core_seconds"}.

    Raises what the stage raised, where that is foreseen (tasks/worker.py). Of any other exception the text holds stage,
    type and message: RuntimeError in this process, Transient from a child, as where one died without a word. Whatever
    interrupts the wait stops the child and its descendants first.
    """
    limited = context.limit(stage).timeout_minutes is not None
    if not limited and (not stage.heavy or context.launcher == "inprocess"):
        from tasks.stage import call_compute
        from tasks.worker import described, foreseen

        started = time.perf_counter()
        try:
            result = call_compute(stage.module, stage.compute, job)
        except Exception as error:
            if foreseen(error):
                raise
            raise RuntimeError(f"stage {job.name}: {described(error)}") from error
        return {**result, "core_seconds": time.perf_counter() - started}
    return _in_child(stage, job, context)


def _in_child(stage: Stage, job: Job, context: RunContext) -> dict[str, Any]:
    from sear_core.errors import InputError
    from tasks.processes import stop_tree
    from tasks.stage import StageFailed, Transient, write_json
    from tasks.tracking import Stopped

    folder = job.out.parent
    job_file, result_file, progress = (folder / name for name in ("job.json", "result.json", "progress"))
    for path in (result_file, progress):
        path.unlink(missing_ok=True)
    write_json(job_file, {
        "module": stage.module, "compute": stage.compute, "name": job.name, "arm": job.arm,
        "section": job.section, "key": job.key, "out": str(job.out), "root": str(job.root), "threads": context.threads,
        "inputs": {n: [type(h).__name__, h.model_dump(mode="json")] for n, h in job.inputs.items()},
        "run_id": job.log.run_id if job.log else None, "resumed": job.log.resumed if job.log else 0,
        "tracking_uri": context.tracker.uri, "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
    })  # fmt: skip
    # evaluation is one process's work: several would write the same files
    alone = context.launcher != "accelerate" or not stage.heavy or stage.module == "tasks.evaluation"
    # a Dask worker under a nanny is a daemonic process, to which multiprocessing gives no children
    fork = _fresh if multiprocessing.current_process().daemon else _fork
    start = fork if alone else _accelerate
    pid, poll = start(str(job_file), str(result_file))
    minutes = context.limit(stage).timeout_minutes
    deadline = time.monotonic() + 60 * (math.inf if minutes is None else minutes)
    try:
        while (code := poll()) is None:
            if time.monotonic() > deadline:
                raise Transient(f"stage {job.name}: over its time-out of {minutes:g} minutes, and stopped")
            if context.cancelled.is_set():
                raise Stopped(f"stage {job.name}: stopped, because {context.why_cancelled}")
            with suppress(OSError, ValueError):
                done, total = progress.read_text().split()
                job.progress(int(done), int(total))
            time.sleep(POLL_SECONDS)
    except BaseException:
        stop_tree(pid)
        raise
    finally:
        job_file.unlink(missing_ok=True)  # it names the tracking store, perhaps with a password
    result = json.loads(result_file.read_text()) if result_file.is_file() else None
    if result is None:
        if context.cancelled.wait(STOP_SECONDS):  # what stops the run may have reached the stage first
            raise Stopped(f"stage {job.name}: stopped, because {context.why_cancelled}")
        raise Transient(
            f"stage {job.name}: its process ended with exit code {code} and no result"
            + (" (killed: out of memory?)" if code in (-9, 137) else "")
        )
    for path in (result_file, progress):
        path.unlink(missing_ok=True)
    if "raised" in result:
        raise Transient(f"stage {job.name}: {result['raised']}")
    if "input_error" in result:
        raise InputError(result["input_error"])
    if "stage_failed" in result:
        raise StageFailed(result["stage_failed"])
    if "os_error" in result:
        raise OSError(*result["os_error"])
    if "mlflow_error" in result:
        from mlflow.exceptions import MlflowException

        raise MlflowException(result["mlflow_error"])
    return result


def _fork(job_file: str, result_file: str) -> tuple[int, Callable[[], int | None]]:
    from tasks.worker import in_own_group

    context = multiprocessing.get_context("forkserver")
    child = context.Process(target=in_own_group, args=(job_file, result_file))
    child.start()
    assert child.pid is not None
    return child.pid, lambda: child.exitcode


def _fresh(job_file: str, result_file: str) -> tuple[int, Callable[[], int | None]]:
    return _start([sys.executable, "-m", "tasks.worker", job_file, result_file])


def _accelerate(job_file: str, result_file: str) -> tuple[int, Callable[[], int | None]]:
    return _start([sys.executable, "-m", "accelerate.commands.launch", *accelerate_options(),
                   "-m", "tasks.worker", job_file, result_file])  # fmt: skip


def _start(command: list[str]) -> tuple[int, Callable[[], int | None]]:
    child = subprocess.Popen(
        command, stdout=sys.stderr, start_new_session=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    )
    return child.pid, child.poll


def accelerate_options() -> list[str]:
    """How accelerate is called: with the file of ACCELERATE_CONFIG_FILE, else with what `accelerate config` wrote.

    Without either one process, and on a CPU where there is no GPU. Raises InputError where the file is not there.
    """
    from accelerate.commands.config.config_args import default_config_file

    from sear_core.errors import InputError

    if file := os.environ.get("ACCELERATE_CONFIG_FILE"):  # accelerate itself does not read it
        if not Path(file).is_file():
            raise InputError(f"ACCELERATE_CONFIG_FILE: {file}: no such file")
        return ["--config_file", file]
    if Path(default_config_file).is_file():
        return []
    options = [
        "--num_processes",
        "1",
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
    ]
    return options if shutil.which("nvidia-smi") else ["--cpu", *options]
