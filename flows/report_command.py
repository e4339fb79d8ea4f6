"""`sear report`: render a finished run's report anew, from what the store still holds of that run."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sear_core.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.workspace import Workspace

STAGE = "report"


def rebuild(run: str, workspace: Workspace) -> Path:
    """Rebuild the report of a pipeline run (id, prefix or name) and return its path.

    The inputs are the very outputs that the run used, by the keys on its child runs; the page is rendered by
    today's code. Raises InputError for an unknown run, and where the store no longer holds what it needs.
    """
    from mlflow import MlflowClient
    from pydantic import ValidationError

    from flows.compare import find, pipeline_runs
    from flows.config import PipelineConfig
    from flows.pipeline import stages
    from flows.services import public
    from tasks.model_registry import store_exists
    from tasks.stage import Job, call_compute, handle_from
    from tasks.tracking import tracking_uri

    uri = tracking_uri(workspace)
    if not store_exists(uri):
        raise InputError(f"{public(uri)}: no run yet; `sear run` makes one")
    client = MlflowClient(uri)
    parent = find(pipeline_runs(client), run)
    try:
        settings = PipelineConfig.model_validate(_config(client, parent.info.run_id))
    except ValidationError as error:
        raise InputError(
            f"run {parent.info.run_id[:8]}: its config is of another version of this project: "
            f"{error.error_count()} keys no longer fit"
        ) from None
    dag = {stage.name: stage for stage in stages(settings, uri)}
    keys = _keys(client, parent.info.experiment_id, parent.info.run_id)
    inputs = {}
    for need in dag[STAGE].needs:
        folder = workspace.store / need / keys.get(need, "absent")
        try:
            entry = json.loads((folder / "entry.json").read_text())
        except (OSError, json.JSONDecodeError):
            raise InputError(
                f"run {parent.info.run_id[:8]}: the output of stage {need!r} is not in {workspace.store}; "
                f"expected {folder}. Its report as it was then is an artifact of the run in MLflow"
            ) from None
        inputs[need] = handle_from(dag[need], entry, folder / "out")
    target = workspace.root / ".sear" / "reports" / parent.info.run_id
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder_name:
        out = Path(folder_name)
        call_compute(
            dag[STAGE].module,
            dag[STAGE].compute,
            Job(name=STAGE, arm="", section=dag[STAGE].section, inputs=inputs, out=out, root=workspace.root),
        )
        target.mkdir(exist_ok=True)
        return (out / "report.html").replace(target / "report.html")


def _config(client: MlflowClient, run_id: str) -> dict[str, Any]:
    """The resolved config that the run logged."""
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            return json.loads(Path(client.download_artifacts(run_id, "config.json", folder)).read_text())
        except (MlflowException, OSError, json.JSONDecodeError) as error:
            raise InputError(f"run {run_id[:8]}: its config.json cannot be read: {error}") from None


def _keys(client: MlflowClient, experiment: str, parent_id: str) -> dict[str, str]:
    """{stage: the store key of its output} of a run's stages, from its child runs."""
    children = client.search_runs(
        [experiment], f"tags.`mlflow.parentRunId` = '{parent_id}'", order_by=["attributes.start_time ASC"]
    )
    tags = [child.data.tags for child in children]
    return {tag["sear.stage"]: tag["sear.key"] for tag in tags if "sear.stage" in tag and "sear.key" in tag}
