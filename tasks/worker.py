"""The child's side of a heavy stage: a job file in, a result file out, both JSON.

Run as `python -m tasks.worker JOB RESULT` (by `accelerate launch`), or called in a process that the fork server
has forked with the libraries already imported. Of several processes the main one writes the result; where one fails,
the first that does writes why.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.secrets import public
from tasks.stage import Job, StageFailed, call_compute, write_json
from tasks.tracking import RunLog, tell_once

# What every heavy stage needs; imported once by the fork server.
PRELOAD = ["torch", "transformers", "trl", "sear_core.policy.training", "sear_core.warm_start.training",
           "sear_core.reward_model.harm", "sear_core.reward_model.helpfulness",
           "sear_core.evaluation.evaluate", "tasks.worker"]  # fmt: skip
SHOWN = 2000  # characters of an exception's text, which may quote whatever it was raised about
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


def run_job(job_file: str, result_file: str) -> None:
    """Compute the stage that the job file describes; whatever Exception it raises is a result too.

    One that is not `foreseen` is raised again, so that its traceback is told.
    """
    from mlflow import MlflowClient

    from tasks import handles

    tell_once()
    spec = json.loads(Path(job_file).read_text())
    if (
        visible := spec.get("visible")
    ) is not None:  # Ray gives each stage GPUs; the fork server knows the first's
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    if threads := spec["threads"]:
        import torch

        torch.set_num_threads(threads)
    first = int(os.environ.get("RANK", "0")) == 0
    log = None
    if spec["run_id"] and first:
        log = RunLog(MlflowClient(spec["tracking_uri"]), spec["run_id"], spec["resumed"])
    job = Job(
        name=spec["name"], arm=spec["arm"], section=spec["section"], out=Path(spec["out"]),
        root=Path(spec["root"]), key=spec["key"], log=log,
        progress=_reporter(Path(job_file).with_name("progress")) if first else lambda done, total: None,
        inputs={n: getattr(handles, kind).model_validate(h) for n, (kind, h) in spec["inputs"].items()},
    )  # fmt: skip
    started = time.perf_counter()
    try:
        result = call_compute(spec["module"], spec["compute"], job)
    except Exception as error:
        fault = foreseen(error)
        _first(Path(result_file), fault or {"raised": described(error)})
        if fault is None:
            raise
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            sys.exit(1)  # by which their launcher ends the others: they would wait for this one
        return
    if first:
        _first(Path(result_file), {**result, "core_seconds": time.perf_counter() - started})


def _first(path: Path, result: dict[str, Any]) -> None:
    """Write the result unless there is one: of several processes the others may fail of the first one's end."""
    own = path.with_name(f"{path.name}.{os.getpid()}")
    write_json(own, result)
    try:
        os.link(own, path)  # a rename would replace
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links: the later of two at once may win
        if not path.exists():
            own.replace(path)
    own.unlink(missing_ok=True)


def foreseen(error: Exception) -> dict[str, Any] | None:
    """The result that stands for a user error, a closed gate, a disk that is full or an MLflow that is away.

    None for anything else: a fault in the code, this or a plug-in's.
    """
    from mlflow.exceptions import MlflowException

    from sear_core.errors import InputError

    if isinstance(error, InputError):
        return {"input_error": public(str(error))}
    if isinstance(error, StageFailed):
        return {"stage_failed": public(str(error))}
    if isinstance(error, OSError) and error.errno in DISK:
        return {"os_error": [error.errno, error.strerror, error.filename and str(error.filename)]}
    if isinstance(error, MlflowException):
        return {"mlflow_error": public(str(error))}
    return None


def described(error: Exception) -> str:
    """For what is not foreseen: a message alone may say nothing, such as a KeyError's. No secrets, SHOWN at most."""
    return public(f"{type(error).__name__}: {error}")[:SHOWN]


def in_own_group(job_file: str, result_file: str) -> None:
    """The same as the leader of a new process group, which can be stopped as a whole.

    It ends with the process that started it, however that ends: otherwise two would write the next try's output.
    """
    os.setsid()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # forked from a server that is deaf to both; one that came before the group was left is the run's to answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    os.dup2(2, 1)  # a stage's output is talk, not the command's result
    run_job(job_file, result_file)


def _end_with(parent: Any) -> None:
    parent.join()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _reporter(path: Path) -> Callable[[int, int], None]:
    """Writes `done total` for the parent to read, at most twice a second."""
    last = 0.0

    def report(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.5:
            last = time.monotonic()
            temporary = path.with_name("progress.tmp")
            temporary.write_text(f"{done} {total}")
            temporary.replace(path)

    return report


if __name__ == "__main__":
    from tasks.processes import end_with_owner

    end_with_owner()
    run_job(sys.argv[1], sys.argv[2])
