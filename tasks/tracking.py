"""The one place that talks to MLflow's tracking store: a parent run per flow run, a child run per stage.

Every call names its run id: MLflow's active run is local to a thread, and stages may run in threads, child
processes or on other machines.
"""

from __future__ import annotations

import math
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from tasks.workspace import Workspace

STAGE_TAG, KIND_TAG, HOST_TAG, PID_TAG = "sear.stage", "sear.kind", "sear.host", "sear.pid"
CACHED_TAG = "sear.cached_from"


def tracking_uri(workspace: Workspace) -> str:
    """The user's MLFLOW_TRACKING_URI, else SQLite under `mlruns/`; nothing is created."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.mlruns / 'mlflow.db'}"


def configure(workspace: Workspace) -> str:
    """Set MLflow up: the user's MLFLOW_TRACKING_URI, or SQLite under `mlruns/`. Returns the URI.

    A new SQLite store is created under a file lock: processes that create one at once would all fail.
    """
    import mlflow

    uri = os.environ["MLFLOW_TRACKING_URI"] = tracking_uri(workspace)
    mlflow.set_tracking_uri(uri)
    if uri.startswith("sqlite:///"):
        workspace.locks.mkdir(parents=True, exist_ok=True)
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        with FileLock(workspace.locks / "mlflow-database.lock"):
            MlflowClient(uri).search_experiments(max_results=1)
    return uri


def is_remote(uri: str) -> bool:
    """Whether others can read the store: then reasoning texts stay out unless asked for."""
    return not uri.startswith(("sqlite:///", "file:"))


def experiment_id(client: MlflowClient, name: str, workspace: Workspace) -> str:
    """The experiment of that name; created with an absolute artifact location in a local store."""
    with FileLock(workspace.locks / "mlflow-experiment.lock"):
        found = client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        location = None if is_remote(client.tracking_uri) else (workspace.mlruns / "artifacts").as_uri()
        return client.create_experiment(name, artifact_location=location)


def clean_metric_name(name: str) -> str:
    """MLflow takes letters, digits and `_-./ :`; anything else becomes `_`."""
    return re.sub(r"[^\w\-./ :]", "_", name)


class RunLog:
    """Writes to one run."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client, self.run_id = client, run_id

    def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
        """Log the finite numbers among `values`; NaN means that something could not be scored, and is left out."""
        now = int(time.time() * 1000)
        numbers = [
            Metric(clean_metric_name(name), float(value), now, step)
            for name, value in values.items()
            if isinstance(value, int | float) and math.isfinite(value)
        ]
        for start in range(0, len(numbers), 900):
            self.client.log_batch(self.run_id, metrics=numbers[start : start + 900])

    def summary(self, values: Mapping[str, Any]) -> None:
        """Log a stage's final figures: at the end of its curve where a name has one, never before its start."""
        known = self.client.get_run(self.run_id).data.metrics
        by_step: dict[int, dict[str, Any]] = {}
        for name, value in values.items():
            name, step = clean_metric_name(name), 0
            if name in known:
                if known[name] == value:
                    continue
                step = max(point.step for point in self.client.get_metric_history(self.run_id, name))
            by_step.setdefault(step, {})[name] = value
        for step, found in by_step.items():
            self.metrics(found, step)

    def params(self, values: Mapping[str, Any]) -> None:
        params = [Param(clean_metric_name(name), str(value)[:6000]) for name, value in values.items()]
        for start in range(0, len(params), 90):
            self.client.log_batch(self.run_id, params=params[start : start + 90])

    def tags(self, values: Mapping[str, Any]) -> None:
        self.client.log_batch(self.run_id, tags=[RunTag(name, str(value)) for name, value in values.items()])

    def dataset(self, name: str, digest: str, source: str, context: str) -> None:
        """Log a data version as a dataset input; no data is read. `digest`: at most 36 characters."""
        dataset = Dataset(name=name, digest=digest, source_type="local", source=source)
        self.client.log_inputs(
            self.run_id, [DatasetInput(dataset, tags=[InputTag("mlflow.data.context", context)])]
        )

    def artifact(self, path: Path, folder: str | None = None) -> None:
        (self.client.log_artifacts if path.is_dir() else self.client.log_artifact)(
            self.run_id, str(path), folder
        )

    def text(self, text: str, name: str) -> None:
        self.client.log_text(self.run_id, text, name)


class Tracker:
    """A flow run's tracking: its parent run, and a child run per stage."""

    def __init__(self, workspace: Workspace, experiment: str) -> None:
        self.workspace = workspace
        self.uri = configure(workspace)
        self.client = MlflowClient(self.uri)
        self.experiment = experiment_id(self.client, experiment, workspace)

    def _create(self, name: str, tags: Mapping[str, Any]) -> RunLog:
        run = self.client.create_run(
            self.experiment,
            tags={k: str(v) for k, v in {
                MLFLOW_RUN_NAME: name, "mlflow.source.type": "LOCAL", "mlflow.source.name": "sear",
                HOST_TAG: platform.node(), PID_TAG: os.getpid(), **tags,
            }.items()},
            run_name=name,
        )  # fmt: skip
        return RunLog(self.client, run.info.run_id)

    def start_parent(self, name: str, tags: Mapping[str, Any]) -> RunLog:
        self.close_abandoned()
        return self._create(name, {KIND_TAG: "pipeline", **tags})

    def end(self, run_id: str, ok: bool) -> None:
        status = RunStatus.FINISHED if ok else RunStatus.FAILED
        self.client.set_terminated(run_id, RunStatus.to_string(status))

    @contextmanager
    def child(self, stage: str, parent_run_id: str, tags: Mapping[str, Any]) -> Iterator[RunLog]:
        """A child run for one stage: FINISHED at the end, FAILED on any exception."""
        log = self._create(stage, {MLFLOW_PARENT_RUN_ID: parent_run_id, STAGE_TAG: stage, **tags})
        try:
            yield log
        except BaseException:
            self.end(log.run_id, ok=False)
            raise
        self.end(log.run_id, ok=True)

    def close_abandoned(self) -> int:
        """Mark this machine's runs whose process is gone as KILLED, so that none stays "running" for ever."""
        import psutil

        running = self.client.search_runs(
            [self.experiment], f"attributes.status = 'RUNNING' and tags.`{HOST_TAG}` = '{platform.node()}'"
        )
        gone = [run for run in running if not psutil.pid_exists(int(run.data.tags.get(PID_TAG, "-1")))]
        for run in gone:
            self.client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.KILLED))
        return len(gone)
