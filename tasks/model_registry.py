"""The one place that talks to MLflow's model registry: versions of one registered model, and two aliases."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

CANDIDATE, CHAMPION = "candidate", "champion"
# MLflow's codes for "no such model" and "no such alias"; any other error must not look like "there is none"
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
MD5_TAG, EVALUATION_TAG, METRIC_TAG = "sear.md5", "sear.evaluation", "metric."
RIVAL_TAG = "sear.rival"  # the champion that a version met at the gate: `<version> <md5>`, or "none"


@dataclass(frozen=True)
class Registered:
    """A model version as this project tags it; metrics are those of its own evaluation."""

    name: str
    version: str
    md5: str
    source: str
    evaluation: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def store_exists(uri: str) -> bool:
    """False for a SQLite store that no run has created yet; looking into it would create it."""
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).is_file()


def by_alias(uri: str, name: str, alias: str) -> Registered | None:
    """The version an alias points to, or None where there is none. Raises MlflowException where it cannot tell."""
    if not store_exists(uri):
        return None
    client = MlflowClient(uri)
    try:
        found = client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        return None
    tags = dict(found.tags)
    return Registered(
        name=name, version=str(found.version), md5=tags.get(MD5_TAG, ""), source=found.source or "",
        evaluation=tags.get(EVALUATION_TAG, ""), tags=tags,
        metrics={k.removeprefix(METRIC_TAG): float(v) for k, v in tags.items() if k.startswith(METRIC_TAG)},
    )  # fmt: skip


def version_exists(uri: str, name: str, version: str) -> bool:
    if not store_exists(uri):
        return False
    try:
        MlflowClient(uri).get_model_version(name, version)
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        return False
    return True


def register(uri: str, name: str, source: str, run_id: str, tags: dict[str, str], promote: bool) -> str:
    """Create a version, point `candidate` at it, and `champion` too where the gate passed. Returns the version."""
    client = MlflowClient(uri)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = str(client.create_model_version(name, source, run_id, tags=tags).version)
    client.set_registered_model_alias(name, CANDIDATE, version)
    if promote:
        client.set_registered_model_alias(name, CHAMPION, version)
    return version


def link_or_upload(client: MlflowClient, run_id: str, folder: Path, name: str) -> str:
    """Have a folder among a run's artifacts, as hard links where the store is on this disk; returns its URI."""
    uri = (client.get_run(run_id).info.artifact_uri or "").rstrip("/")
    local = Path(uri.removeprefix("file://")) if uri.startswith(("file://", "/")) else None
    if local is None:
        client.log_artifacts(run_id, str(folder), name)
    else:
        for path in folder.rglob("*"):
            if path.is_file():
                target = local / name / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                try:
                    os.link(path, target)
                except OSError:  # another disk
                    import shutil

                    shutil.copy2(path, target)
    return f"{uri}/{name}"
