"""The child's side of a heavy stage: a job file in, a result file out, both JSON.

Run as `python -m tasks.worker JOB RESULT` (by `accelerate launch`), or called in a process that the fork server
has forked with the libraries already imported. Only the main process of several writes the result.
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

from tasks.stage import Job, StageFailed, call_compute, write_json
from tasks.tracking import RunLog, tell_once

# What every heavy stage needs; imported once by the fork server.
PRELOAD = ["torch", "transformers", "trl", "sear_core.policy.training", "sear_core.warm_start.training",
           "sear_core.reward_model.harm", "sear_core.reward_model.helpfulness",
           "sear_core.evaluation.evaluate", "tasks.worker"]  # fmt: skip


def run_job(job_file: str, result_file: str) -> None:
    """Compute the stage that the job file describes; user errors, closed gates and a full disk are results too."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from sear_core.errors import InputError
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
    except InputError as error:
        result = {"input_error": str(error)}
    except StageFailed as error:
        result = {"stage_failed": str(error)}
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        result = {"os_error": [error.errno, error.strerror, error.filename]}
    except MlflowException as error:
        result = {"mlflow_error": str(error)}
    if first:
        write_json(Path(result_file), {**result, "core_seconds": time.perf_counter() - started})


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
