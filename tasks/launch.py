"""Where a heavy stage runs: in this process, or in a child process under `accelerate launch`.

The child is given a job file and writes a result file; both are JSON, and both lie in the stage's partial
output. A child process gives GPU memory back and can be stopped as a process group.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.tracking import RunLog

if TYPE_CHECKING:
    from tasks.stage import Job, RunContext, Stage

COMMANDS = {
    "process": [sys.executable, "-m", "tasks.launch"],
    "accelerate": [sys.executable, "-m", "accelerate.commands.launch", "-m", "tasks.launch"],
}


def launch(stage: Stage, job: Job, context: RunContext) -> dict[str, Any]:
    """Compute a stage and return its result: {"metrics": {…}, further handle fields}."""
    from tasks.stage import StageFailed, call_compute, write_json

    if not stage.heavy or context.launcher == "inprocess":
        return call_compute(stage, job)
    folder = job.out.parent
    job_file, result_file = folder / "job.json", folder / "result.json"
    result_file.unlink(missing_ok=True)
    write_json(job_file, {
        "module": stage.module, "compute": stage.compute, "name": job.name, "arm": job.arm,
        "section": job.section, "out": str(job.out), "root": str(job.root),
        "inputs": {n: [type(h).__name__, h.model_dump(mode="json")] for n, h in job.inputs.items()},
        "run_id": job.log.run_id if job.log else None, "tracking_uri": context.tracker.uri,
    })  # fmt: skip
    child = subprocess.Popen(
        [*COMMANDS[context.launcher], str(job_file), str(result_file)],
        stdout=sys.stderr, start_new_session=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        code = child.wait()
    except BaseException:
        os.killpg(child.pid, signal.SIGTERM)
        raise
    if not result_file.is_file():
        raise StageFailed(f"stage {job.name}: its process ended with exit code {code} and no result")
    result = json.loads(result_file.read_text())
    if "input_error" in result:
        from sear_core.errors import InputError

        raise InputError(result["input_error"])
    if "stage_failed" in result:
        raise StageFailed(result["stage_failed"])
    return result


def main(job_file: str, result_file: str) -> None:
    """The child's side. Only the main process of several writes the result."""
    from mlflow import MlflowClient

    from sear_core.errors import InputError
    from tasks import handles
    from tasks.stage import Job, StageFailed, write_json

    spec = json.loads(Path(job_file).read_text())
    first = int(os.environ.get("RANK", "0")) == 0
    log = RunLog(MlflowClient(spec["tracking_uri"]), spec["run_id"]) if spec["run_id"] and first else None
    job = Job(
        name=spec["name"], arm=spec["arm"], section=spec["section"], out=Path(spec["out"]),
        root=Path(spec["root"]), log=log,
        inputs={n: getattr(handles, kind).model_validate(h) for n, (kind, h) in spec["inputs"].items()},
        progress=lambda done, total: None,
    )  # fmt: skip
    import importlib

    try:
        result = getattr(importlib.import_module(spec["module"]), spec["compute"])(job)
    except InputError as error:
        result = {"input_error": str(error)}
    except StageFailed as error:
        result = {"stage_failed": str(error)}
    if first:
        write_json(Path(result_file), result)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
