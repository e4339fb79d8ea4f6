"""The one place that talks to MLflow's tracking store: a parent run per flow run, a child run per stage.

Every call names its run id: MLflow's active run is local to a thread, and stages may run in threads, child
processes or on other machines.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from tasks.processes import alive, token
from tasks.workspace import Workspace

STAGE_TAG, KIND_TAG, HOST_TAG, PID_TAG = "sear.stage", "sear.kind", "sear.host", "sear.pid"
CACHED_TAG, KEY_TAG = "sear.cached_from", "sear.key"
RETRIES_TAG = "sear.retries"
CALL_TAG, RESUMED_TAG = "sear.call", "sear.resumed"  # the same call finds its run; how often it was taken up


RACED = re.compile(r"unique|duplicate key|giving up after", re.IGNORECASE)
T = TypeVar("T")


def configure(workspace: Workspace) -> str:
    """Set MLflow up: the user's MLFLOW_TRACKING_URI, or SQLite under `mlruns/`. Returns the URI.

    A new SQLite store is created under a file lock: processes that create one at once would all fail.
    """
    import mlflow

    tell_once()
    uri = os.environ["MLFLOW_TRACKING_URI"] = workspace.tracking_uri
    mlflow.set_tracking_uri(uri)
    if uri.startswith("sqlite:///"):
        workspace.locks.mkdir(parents=True, exist_ok=True)
        path = Path(uri.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(workspace.locks / "mlflow-database.lock"):
            if (
                not path.exists()
            ):  # under another name: a kill in the middle leaves a schema that nobody takes up
                new = path.with_name(f"{path.name}.new")
                new.unlink(missing_ok=True)
                new.with_name(f"{new.name}-journal").unlink(missing_ok=True)
                MlflowClient(f"sqlite:///{new}").search_experiments(max_results=1)
                new.rename(path)
            MlflowClient(uri).search_experiments(max_results=1)
    elif not uri.startswith(("http://", "https://")):
        first_contact(uri)
    return uri


def tell_once() -> None:
    """A failed statement becomes an exception, which the command tells: MLflow would print its traceback first."""
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def first_contact(uri: str, seconds: float = 60.0) -> None:
    """Have the tables of a database server made. Another machine may be making them just now: then one of the two
    fails for a moment, and finds them made a little later. No file lock reaches that far."""
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    deadline = time.monotonic() + seconds
    while True:
        try:
            MlflowClient(uri).search_experiments(max_results=1)
            return
        except (MlflowException, SQLAlchemyError, CommandError):
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def again_if_raced(call: Callable[[], T], tries: int = 6) -> T:
    """Call MLflow, and again where another run has just made the same row: its store looks first and inserts then."""
    for number in range(tries):
        try:
            return call()
        except MlflowException as error:
            if number + 1 == tries or not RACED.search(str(error)):
                raise
            time.sleep(0.1 * 2**number * (1 + random.random()))  # noqa: S311 - apart from the other
    raise AssertionError("unreachable")


class Stopped(RuntimeError):
    """A stage was stopped from outside: the run was cancelled, or another stage failed. Not its own fault."""

    flow_run_id = ""  # of the Prefect flow run that was cancelled


def is_interruption(error: BaseException) -> bool:
    """Ctrl-C, a signal, a cancellation: nothing that failed, so the same command may go on where it was."""
    return isinstance(error, Stopped) or not isinstance(error, Exception)


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
        try:
            return client.create_experiment(name, artifact_location=location)
        except MlflowException as error:  # another checkout was quicker
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
            assert found is not None
            return found.experiment_id


def clean_metric_name(name: str) -> str:
    """MLflow takes letters, digits and `_-./ :`; anything else becomes `_`."""
    return re.sub(r"[^\w\-./ :]", "_", name)


class RunLog:
    """Writes to one run."""

    def __init__(self, client: MlflowClient, run_id: str, resumed: int = 0) -> None:
        self.client, self.run_id, self.resumed = client, run_id, resumed
        self._last: dict[str, int] | None = None  # metric -> its last step before the interruption

    def metrics(self, values: Mapping[str, Any], step: int = 0, after: int = 0) -> None:
        """Log the finite numbers among `values`; NaN means that something could not be scored, and is left out.

        In a resumed run steps that are on a curve already are not logged again. after: a time in milliseconds that
        the points are later than, whatever the clock says now: of one step MLflow shows the latest point.
        """
        now = max(int(time.time() * 1000), after + 1)
        if self.resumed:
            last = self._steps_before()
            values = {k: v for k, v in values.items() if last.get(clean_metric_name(k), -1) < step}
        numbers = [
            Metric(clean_metric_name(name), float(value), now, step)
            for name, value in values.items()
            if isinstance(value, int | float) and math.isfinite(value)
        ]
        for start in range(0, len(numbers), 900):
            self.client.log_batch(self.run_id, metrics=numbers[start : start + 900])

    def again(self) -> None:
        """What is logged from here on repeats what is logged already."""
        self.resumed, self._last = max(1, self.resumed), None

    def _steps_before(self) -> dict[str, int]:
        if self._last is None:
            names = self.client.get_run(self.run_id).data.metrics
            self._last = {
                name: max(point.step for point in self.client.get_metric_history(self.run_id, name))
                for name in names
            }
        return self._last

    def summary(self, values: Mapping[str, Any]) -> None:
        """Log a stage's final figures: at the end of its curve where a name has one, never before its start."""
        known = self.client.get_run(self.run_id).data.metrics
        by_step: dict[tuple[int, int], dict[str, Any]] = {}
        for name, value in values.items():
            name, end = clean_metric_name(name), (0, 0)
            if name in known:
                if known[name] == value:
                    continue
                end = max((p.step, p.timestamp) for p in self.client.get_metric_history(self.run_id, name))
            by_step.setdefault(end, {})[name] = value
        for (step, last), found in by_step.items():
            RunLog(self.client, self.run_id).metrics(found, step, last)  # whatever was on the curves before

    def params(self, values: Mapping[str, Any]) -> None:
        if self.resumed:
            known = self.client.get_run(self.run_id).data.params  # MLflow takes no second value
            values = {k: v for k, v in values.items() if clean_metric_name(k) not in known}
        params = [Param(clean_metric_name(name), str(value)[:6000]) for name, value in values.items()]
        for start in range(0, len(params), 90):
            self.client.log_batch(self.run_id, params=params[start : start + 90])

    def tags(self, values: Mapping[str, Any]) -> None:
        self.client.log_batch(self.run_id, tags=[RunTag(name, str(value)) for name, value in values.items()])

    def dataset(self, name: str, digest: str, source: str, context: str) -> None:
        """Log a data version as a dataset input; no data is read. `digest`: at most 36 characters."""
        dataset = Dataset(name=name, digest=digest, source_type="local", source=source)
        tags = [InputTag("mlflow.data.context", context)]
        again_if_raced(lambda: self.client.log_inputs(self.run_id, [DatasetInput(dataset, tags=tags)]))

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
                HOST_TAG: platform.node(), PID_TAG: token(os.getpid()), **tags,
            }.items()},
            run_name=name,
        )  # fmt: skip
        return RunLog(self.client, run.info.run_id)

    def start_parent(
        self, name: str, tags: Mapping[str, Any], kind: str = "pipeline", call: str = ""
    ) -> RunLog:
        """A new run, or the interrupted one that the same call goes on with.

        call: a hash of all that makes two calls the same; "" never resumes. The last run of that call is taken
        up where it was KILLED (a signal, a lost process), not where it finished or failed.
        """
        self.close_abandoned()
        if call:
            found = self.client.search_runs(
                [self.experiment], f"tags.`{CALL_TAG}` = '{call}'", max_results=1,
                order_by=["attributes.start_time DESC"],
            )  # fmt: skip
            if found and found[0].info.status == "KILLED":
                return self._reopen(found[0], tags)
            tags = {**tags, CALL_TAG: call}
        return self._create(name, {KIND_TAG: kind, **tags})

    def start_member(self, name: str, parent: RunLog, tags: Mapping[str, Any]) -> RunLog:
        """A study's member: a run below the study's, above its own stages'. In a resumed study: the same as before."""
        return self._below(name, parent, {MLFLOW_RUN_NAME: name, KIND_TAG: "member"}, tags)

    def _below(self, name: str, parent: RunLog, same: Mapping[str, str], tags: Mapping[str, Any]) -> RunLog:
        """A child run; where the parent was interrupted, its child of the `same` tags."""
        children = self.children(parent.run_id) if parent.resumed else []
        before = next((run for run in children if same.items() <= run.data.tags.items()), None)
        if before is not None:
            return self._reopen(before, tags)
        return self._create(name, {MLFLOW_PARENT_RUN_ID: parent.run_id, **same, **tags})

    def _reopen(self, run: Run, tags: Mapping[str, Any]) -> RunLog:
        count = int(run.data.tags.get(RESUMED_TAG, "0")) + 1
        log = RunLog(self.client, run.info.run_id, count)
        log.tags({**tags, RESUMED_TAG: count, HOST_TAG: platform.node(), PID_TAG: token(os.getpid())})
        self.client.update_run(run.info.run_id, RunStatus.to_string(RunStatus.RUNNING))
        return log

    def children(self, parent_run_id: str) -> list[Run]:
        """The child runs of a run, the newest first."""
        return list(self.client.search_runs(
            [self.experiment], f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent_run_id}'",
            order_by=["attributes.start_time DESC"],
        ))  # fmt: skip

    def end(self, run_id: str, error: BaseException | None = None) -> None:
        """FINISHED without an error, KILLED for an interruption, else FAILED.

        Where MLflow itself is away its run cannot be ended: the next start does it (close_abandoned).
        """
        if isinstance(error, MlflowException):
            return
        status = (
            RunStatus.FINISHED if error is None
            else RunStatus.KILLED if is_interruption(error) else RunStatus.FAILED
        )  # fmt: skip
        self.client.set_terminated(run_id, RunStatus.to_string(status))

    def end_lost(self, stage: str, parent: RunLog, status: str) -> None:
        """End what a stage's run below that parent has left open: its worker is gone, and nobody goes on with it."""
        for run in self.children(parent.run_id):
            if run.data.tags.get(STAGE_TAG) == stage and run.info.status == "RUNNING":
                self.client.set_terminated(run.info.run_id, status)

    @contextmanager
    def child(self, stage: str, parent: RunLog, tags: Mapping[str, Any]) -> Iterator[RunLog]:
        """A child run for one stage; `end` says how it ends. In a resumed run: the one that was interrupted."""
        key = {KEY_TAG: str(tags[KEY_TAG])} if KEY_TAG in tags else {}  # that is, of the same inputs
        log = self._below(stage, parent, {STAGE_TAG: stage, **key}, tags)
        try:
            yield log
        except BaseException as error:
            self.end(log.run_id, error)
            raise
        self.end(log.run_id)

    def close_abandoned(self) -> int:
        """Mark this machine's runs whose process is gone as KILLED, so that none stays "running" for ever."""
        running = self.client.search_runs(
            [self.experiment], f"attributes.status = 'RUNNING' and tags.`{HOST_TAG}` = '{platform.node()}'"
        )
        gone = [run for run in running if not alive(run.data.tags.get(PID_TAG, ""))]
        for run in gone:
            self.client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.KILLED))
        return len(gone)
