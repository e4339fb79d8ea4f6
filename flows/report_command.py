"""`sear report`: render a finished run's report anew, from what the store still holds of that run."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sear_core.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from tasks.workspace import Workspace

STAGE = "report"


def rebuild(run: str, workspace: Workspace) -> Path:
    """Rebuild the report of a pipeline run or a study (id, prefix or name) and return its path.

    The inputs are the very outputs that the run used, by the keys on its child runs; the page is rendered by
    today's code. Raises InputError for an unknown run, and where the store no longer holds what it needs.
    """
    from mlflow import MlflowClient
    from pydantic import ValidationError

    from flows.compare import find, runs_of
    from flows.config import PipelineConfig
    from flows.evaluations import stage_keys
    from flows.pipeline import stages
    from tasks.model_registry import store_exists
    from tasks.secrets import public
    from tasks.stage import Job, call_compute, handle_from

    uri = workspace.tracking_uri
    if not store_exists(uri):
        raise InputError(f"{public(uri)}: no run yet; `sear run` makes one")
    client = MlflowClient(uri)
    parent = find(runs_of(client, ("pipeline", "study")), run)
    keys = stage_keys(client, parent.info.experiment_id, parent.info.run_id)
    target = workspace.root / ".sear" / "reports" / parent.info.run_id
    if parent.data.tags["sear.kind"] == "study":
        return _study(parent, workspace.store / "study" / keys.get("study", "absent") / "out", target)
    try:
        settings = PipelineConfig.model_validate(_config(client, parent.info.run_id))
    except ValidationError as error:
        raise InputError(
            f"run {parent.info.run_id[:8]}: its config is of another version of this project: "
            f"{error.error_count()} keys no longer fit"
        ) from None
    dag = {stage.name: stage for stage in stages(settings, uri)}
    inputs = {}
    for need in dag[STAGE].needs:
        folder = workspace.store / need / keys.get(need, "absent")
        try:
            entry = json.loads((folder / "entry.json").read_text())
        except (OSError, json.JSONDecodeError):
            raise _gone(parent, need, folder) from None
        inputs[need] = handle_from(dag[need], entry, folder / "out")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder_name:
        out = Path(folder_name)
        call_compute(
            dag[STAGE].module,
            dag[STAGE].compute,
            Job(
                name=STAGE,
                arm="",
                section=dag[STAGE].section | {"run": _about(parent)},
                inputs=inputs,
                out=out,
                root=workspace.root,
            ),
        )
        target.mkdir(exist_ok=True)
        return (out / "report.html").replace(target / "report.html")


def _study(parent: Run, found: Path, target: Path) -> Path:
    """The page of a study, from its study.json."""
    from tasks.study_html import lineage_of, write_study
    from tasks.study_plots import figures_of
    from tasks.study_result import StudyResult

    try:
        result = StudyResult.model_validate_json((found / "study.json").read_text("utf-8"))
    except (OSError, ValueError):
        raise _gone(parent, "study", found) from None
    return write_study(result, figures_of(result), target / "report.html", lineage_of(parent.data.tags))


def _gone(parent: Run, stage: str, folder: Path) -> InputError:
    return InputError(
        f"run {parent.info.run_id[:8]}: the output of stage {stage!r} is not in the store, or not whole; "
        f"expected {folder}. Its report as it was then is an artifact of the run in MLflow"
    )


def _about(parent: Run) -> dict[str, str]:
    """What only the run itself knows, for the page's head and its lineage."""
    info, tags = parent.info, parent.data.tags
    started = datetime.fromtimestamp((info.start_time or 0) / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {"run": info.run_id, "started": started} | {
        name: tags[name] for name in ("git.commit", "git.dirty") if name in tags
    }


def _config(client: MlflowClient, run_id: str) -> dict[str, Any]:
    """The resolved config that the run logged."""
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            return json.loads(Path(client.download_artifacts(run_id, "config.json", folder)).read_text())
        except (MlflowException, OSError, json.JSONDecodeError) as error:
            raise InputError(f"run {run_id[:8]}: its config.json cannot be read: {error}") from None
