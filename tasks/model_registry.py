"""The one place that talks to MLflow's model registry: versions of one registered model, and two aliases."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from tasks.tracking import again_if_raced

CANDIDATE, CHAMPION = "candidate", "champion"
# MLflow's codes for "no such model" and "no such alias"; any other error must not look like "there is none"
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
MD5_TAG, METRIC_TAG = "sear.md5", "metric."
MOVE_TAG = "champion."  # + when: a move of the alias to this version
KEY_TAG = "sear.key"  # of the stage that registered it
RIVAL_TAG = "sear.rival"  # the champion that a version met at the gate: `<version> <md5>`, or "none"


@dataclass(frozen=True)
class Registered:
    """A model version as this project tags it; metrics are those of its own evaluation."""

    name: str
    version: str
    md5: str
    source: str
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    run_id: str = ""
    created: float = 0.0  # seconds since the epoch


def store_exists(uri: str) -> bool:
    """False for a SQLite store that no run has created yet; looking into it would create it."""
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).is_file()


def by_alias(uri: str, name: str, alias: str) -> Registered | None:
    """The version an alias points to, or None where there is none. Raises MlflowException where it cannot tell."""
    return _found(uri, lambda client: client.get_model_version_by_alias(name, alias))


def by_version(uri: str, name: str, version: str) -> Registered | None:
    """A version by its number, or None where there is none. Raises MlflowException where it cannot tell."""
    return _found(uri, lambda client: client.get_model_version(name, version))


def _found(uri: str, get: Callable[[MlflowClient], ModelVersion]) -> Registered | None:
    if not store_exists(uri):
        return None
    try:
        found = get(MlflowClient(uri))
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        return None
    return _registered(found)


def _registered(found: ModelVersion) -> Registered:
    tags = dict(found.tags)
    return Registered(
        name=found.name, version=str(found.version), md5=tags.get(MD5_TAG, ""), source=found.source or "", tags=tags,
        run_id=found.run_id or "", created=(found.creation_timestamp or 0) / 1000,
        metrics={k.removeprefix(METRIC_TAG): float(v) for k, v in tags.items() if k.startswith(METRIC_TAG)},
    )  # fmt: skip


def rival(champion: Registered | None, evaluation_md5: str) -> str:
    """Whom a candidate meets at the gate, `<version> <md5>` or "none".

    The champion; or, where that is the candidate itself (by its evaluation), whom it met when it was promoted.
    """
    if champion is None:
        return "none"
    if champion.tags.get("evaluation.md5") == evaluation_md5:
        return champion.tags.get(RIVAL_TAG, "none")
    return f"{champion.version} {champion.md5}"


def of_key(uri: str, name: str, key: str) -> str | None:
    """The newest version that the stage with this store key made, or None."""
    if not key or not store_exists(uri):
        return None
    found = MlflowClient(uri).search_model_versions(f"name = '{name}' and tags.`{KEY_TAG}` = '{key}'")
    return max((str(version.version) for version in found), key=int, default=None)


def create(uri: str, name: str, source: str, run_id: str, tags: dict[str, str]) -> str:
    """Create a version of a model, and the model where it is the first. Returns the version."""
    client = MlflowClient(uri)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = again_if_raced(lambda: client.create_model_version(name, source, run_id, tags=tags))
    return str(made.version)


def set_aliases(uri: str, name: str, version: str, promote: bool) -> None:
    """Point `candidate` at a version, and `champion` too where the gate passed."""
    again_if_raced(lambda: MlflowClient(uri).set_registered_model_alias(name, CANDIDATE, version))
    if promote:
        move_champion(uri, name, version, "gate", "the gate passed")


@dataclass(frozen=True)
class Move:
    """The champion alias went from one version ("" for none) to another; how: gate, promote, force or rollback."""

    at: str  # UTC, ISO 8601
    before: str
    after: str
    how: str
    reason: str
    by: str


def move_champion(uri: str, name: str, number: str, how: str, reason: str) -> Move | None:
    """Point `champion` at a version and write the move down, on the version; None where it was there already."""
    client, now = MlflowClient(uri), by_alias(uri, name, CHAMPION)
    if now is not None and now.version == number:
        return None
    try:
        by = getpass.getuser()
    except (KeyError, OSError):  # no such user here
        by = str(os.getuid())
    made = moves(versions(uri, name))
    at = datetime.now(UTC)
    if made:  # a clock that was set back must not turn the moves' order round
        at = max(at, datetime.fromisoformat(made[-1].at) + timedelta(microseconds=1))
    move = Move(
        at.isoformat(timespec="microseconds").replace("+00:00", "Z"),  # a tag's name takes no +
        now.version if now else "", number, how, reason[:2000], by,
    )  # fmt: skip
    again_if_raced(lambda: client.set_registered_model_alias(name, CHAMPION, number))
    client.set_model_version_tag(name, number, f"{MOVE_TAG}{move.at}", json.dumps(asdict(move)))
    return move


def versions(uri: str, name: str) -> list[Registered]:
    """All versions of a model, the newest first."""
    if not store_exists(uri):
        return []
    found = MlflowClient(uri).search_model_versions(f"name = '{name}'", max_results=10_000)
    return sorted((_registered(version) for version in found), key=lambda r: int(r.version), reverse=True)


def moves(found: Iterable[Registered]) -> list[Move]:
    """Every move of the champion alias, the oldest first."""
    texts = [text for r in found for tag, text in r.tags.items() if tag.startswith(MOVE_TAG)]
    return sorted((Move(**json.loads(text)) for text in texts), key=lambda move: move.at)


def restore(client: MlflowClient, found: Registered, folder: Path) -> bool:
    """Have a version's files made again from what the store holds, where they lay on this disk and are gone."""
    local = Path(found.source.removeprefix("file://"))
    if not found.source.startswith(("file://", "/")) or (local / "MLmodel").is_file():
        return False
    link_or_upload(client, found.run_id, folder, local.name)
    return True


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
