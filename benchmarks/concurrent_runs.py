"""Several `smoke` runs at once, each of a checkout and a seed of its own, onto one Prefect and one MLflow
server, the latter on PostgreSQL and S3.

    python benchmarks/concurrent_runs.py --runs 8

Every run must end with exit code 0, and in MLflow as one finished parent with one finished child per stage, whole
curves, its own metrics, its report among the artifacts and a model version of its own. Prints one JSON object; exit
code 1 where a run is not whole. Needs PostgreSQL's programs (initdb, postgres) on this machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))


def kill_resume() -> Any:
    spec = importlib.util.spec_from_file_location("kill_resume", Path(__file__).with_name("kill_resume.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def tracking_server() -> Iterator[str]:
    """The URL of an MLflow server on PostgreSQL and S3, all of this machine and for this block alone."""
    from flows import servers

    # outside of root's own folders: PostgreSQL runs as another user where this process is root
    with (
        tempfile.TemporaryDirectory(prefix="sear-postgres-") as private,
        tempfile.TemporaryDirectory() as folder,
    ):
        Path(private).chmod(0o755)
        with (
            servers.postgres_server(Path(private) / "postgres", ["mlflow"]) as databases,
            servers.s3_server(Path(folder)) as endpoint,
            servers.mlflow_server(
                Path(folder), databases["mlflow"], "s3://mlflow", endpoint, workers=2
            ) as url,
        ):
            yield url


def start(root: Path, url: str, prefect: str, *arguments: str) -> subprocess.Popen[str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "PREFECT_", "SEAR_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "flows", "run", "--preset", "smoke", "--json", *arguments], cwd=root, text=True,
        env=own | {"PYTHONPATH": str(REPOSITORY), "MLFLOW_TRACKING_URI": url, "PREFECT_API_URL": prefect,
                   "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=root.with_name(f"{root.name}.log").open("w"),
    )  # fmt: skip


def whole(url: str, result: dict[str, Any]) -> list[str]:
    """What is wrong with a finished run in MLflow; [] where nothing is."""
    from mlflow import MlflowClient

    client, wrong = MlflowClient(url), []
    parent = client.get_run(result["run_id"])
    found = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{result['run_id']}'"
    )
    children = {run.data.tags["sear.stage"]: run for run in found}
    stages = {stage["name"] for stage in result["stages"]}
    if parent.info.status != "FINISHED":
        wrong.append(f"the parent is {parent.info.status}")
    if stages != set(children) or len(found) != len(children):
        wrong.append(f"children: {sorted(run.data.tags['sear.stage'] for run in found)}")
    wrong += [
        f"{name} is {run.info.status}" for name, run in children.items() if run.info.status != "FINISHED"
    ]
    for name in (name for name in stages if name.startswith("policy.")):
        steps = [point.step for point in client.get_metric_history(children[name].info.run_id, "loss")]
        if sorted(set(steps)) != list(range(1, max(steps, default=0) + 1)):
            wrong.append(f"the curve of {name} has the steps {steps}")
    wrong += [
        f"{arm}.{name} is not what the run has measured"
        for arm, metrics in result["arms"].items() for name in ("dsr", "compliance.harmless")
        if parent.data.metrics.get(f"{arm}.{name}") != metrics[name]
    ]  # fmt: skip
    if "report.html" not in {item.path for item in client.list_artifacts(result["run_id"])}:
        wrong.append("no report among the artifacts")
    version = client.get_model_version("sear", result["model"]["version"])
    if version.run_id != children["register"].info.run_id:
        wrong.append(f"version {version.version} belongs to another run")
    if "model" not in {item.path for item in client.list_artifacts(version.run_id or "")}:
        wrong.append(f"the model of version {version.version} is not there")
    return wrong


def runs_at_once(folder: Path, count: int, url: str, prefect: str) -> dict[str, Any]:
    """Run that many at once; {"runs": [{"code", "wrong"}, …], "versions", "seconds"}."""
    make_checkout = kill_resume().make_checkout
    began = time.perf_counter()
    roots = [make_checkout(folder / f"checkout-{number}") for number in range(count)]
    processes = [start(root, url, prefect, "--set", f"seed={seed}") for seed, root in enumerate(roots)]
    results, runs = [], []
    for root, process in zip(roots, processes, strict=True):
        out, _ = process.communicate()
        if process.returncode:
            log = root.with_name(f"{root.name}.log").read_text()
            runs.append({"code": process.returncode, "wrong": [log[-2000:]]})
            continue
        results.append(json.loads(out))
        runs.append({"code": 0, "wrong": whole(url, results[-1])})
    return {
        "runs": runs,
        "versions": sorted(result["model"]["version"] for result in results),
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=8)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="concurrent-runs-"))
    from flows.servers import prefect_server

    with tracking_server() as url, prefect_server(folder / "prefect") as prefect:
        found = runs_at_once(folder, options.runs, url, prefect)
    finished = sum(run["code"] == 0 for run in found["runs"])
    complete = sum(run["code"] == 0 and not run["wrong"] for run in found["runs"])
    own = len(set(found["versions"])) == options.runs
    print(
        json.dumps({"finished": finished, "whole": complete, "versions_of_their_own": own, **found}, indent=1)
    )
    shutil.rmtree(folder, ignore_errors=True)
    return 0 if complete == options.runs and own else 1


if __name__ == "__main__":
    sys.exit(main())
