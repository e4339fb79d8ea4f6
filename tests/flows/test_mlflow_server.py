"""Against a real MLflow server that goes away in the middle of a run, and comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from mlflow import MlflowClient

from flows.servers import free_port, mlflow_server

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_run_whose_server_goes_away_keeps_its_results_and_the_same_command_uploads_them_later(
    workspace, tmp_path
):
    folder, port, log = tmp_path / "server", free_port(), tmp_path / "log"
    folder.mkdir()
    store, artifacts = f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts")
    own = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "PREFECT_", "SEAR_"))}
    command = [sys.executable, "-m", "flows", "run", "--preset", "smoke", "--until", "warm_start", "--json",
               "--set", "warm_start.epochs=1", "--set", "warm_start.save_every=10"]  # fmt: skip

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=workspace, stdout=subprocess.PIPE, stderr=log.open("w"), text=True,
            env=own | {
                "PYTHONPATH": str(REPOSITORY), "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
                "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
            },
        )  # fmt: skip

    with mlflow_server(folder, store, artifacts, port=port):
        process = start()
        checkpoint = "warm_start/*.partial/out/checkpoints/*/manifest.json"
        deadline = time.monotonic() + 300
        while not list((workspace / ".sear" / "store").glob(checkpoint)):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
    process.communicate(timeout=300)
    said = log.read_text()
    assert process.returncode == 1, said
    assert (
        "MLflow failed" in said
        and "is safe in .sear/store; once MLflow answers again, the same command" in said
    )
    assert list((workspace / ".sear" / "store").glob("prepare/*/entry.json"))
    with mlflow_server(folder, store, artifacts, port=port) as url:
        process = start()
        out, _ = process.communicate(timeout=400)
        assert process.returncode == 0, log.read_text()
        client = MlflowClient(url)
        runs = client.search_runs([client.get_experiment_by_name("sear").experiment_id])
    result = json.loads(out)
    assert [stage["cached"] for stage in result["stages"]][:3] == [True] * 3
    # the same run, taken up, with everything that it lacked
    assert [run.info.run_id for run in runs if "sear.call" in run.data.tags] == [result["run_id"]]
    found = {run.data.tags.get("sear.stage", "parent"): run for run in runs}
    assert sorted(found) == ["parent", "prepare", "validate", "version", "warm_start"] and len(runs) == 5
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert found["parent"].data.tags["sear.resumed"] == "1"
    with mlflow_server(folder, store, artifacts, port=port) as url:
        history = MlflowClient(url).get_metric_history(found["warm_start"].info.run_id, "loss")
    steps = [point.step for point in history]
    assert len(steps) == len(set(steps)) and max(steps) > 5
