"""`sear clean`: what no kept run and no registered version needs. Lists first; removes only when told to.

Kept always: whatever a version of any registered model was made by (its run, all its stages' outputs, its
artifacts), and every run younger than the limit. A run in progress is young, and its stages are locked.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from tasks.workspace import Workspace

DAY = 86400.0


@dataclass(frozen=True)
class Item:
    """One thing to remove. kind: run, output, leftover or artifact; name: a run id, or a path below the project."""

    kind: str
    name: str
    bytes: int
    why: str


def clean(workspace: Workspace, older_than: float = 30.0, yes: bool = False) -> dict[str, Any]:
    """{"items": […], "bytes": …, "removed": bool}. older_than in days."""
    from mlflow import MlflowClient

    from tasks.model_registry import store_exists

    uri = workspace.tracking_uri
    limit = time.time() - older_than * DAY
    client = MlflowClient(uri) if store_exists(uri) else None
    runs = _runs(client) if client else []
    old = _old(client, runs, limit) if client else []
    kept = {run.info.run_id for run in runs} - {run.info.run_id for run in old}
    keys = {run.data.tags.get("sear.key") for run in runs if run.info.run_id in kept}
    items = [
        Item("run", run.info.run_id, _artifact_bytes(run), "older than the limit; no version needs it")
        for run in old
    ]
    items += _outputs(workspace, keys, limit) + _leftovers(workspace, limit)
    if client:
        items += _weights(client, workspace, runs, limit)
    if yes:
        _remove(workspace, client, items)
    return {
        "schema_version": 1, "removed": yes, "bytes": sum(item.bytes for item in items),
        "items": [asdict(item) for item in items],
    }  # fmt: skip


def _runs(client: MlflowClient) -> list[Run]:
    found: list[Run] = []
    for experiment in client.search_experiments():
        token = None
        while True:
            page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
            found += page
            token = page.token
            if not token:
                break
    return [run for run in found if "sear.kind" in run.data.tags or "sear.stage" in run.data.tags]


def _old(client: MlflowClient, runs: list[Run], limit: float) -> list[Run]:
    """The runs that ended before the limit, but for the families that a registered version comes from."""
    above = {run.info.run_id: run.data.tags.get("mlflow.parentRunId") for run in runs}

    def root(run_id: str) -> str:
        while above.get(run_id):
            run_id = str(above[run_id])
        return run_id

    needed = {root(version.run_id or "") for version in client.search_model_versions(max_results=10_000)}
    young = {
        root(run.info.run_id)
        for run in runs
        if run.info.status == "RUNNING" or max(run.info.start_time, run.info.end_time or 0) / 1000 > limit
    }
    # what a kept run took from the store was computed by these
    origins = {
        root(run.data.tags["sear.cached_from"])
        for run in runs
        if root(run.info.run_id) in needed | young and "sear.cached_from" in run.data.tags
    }
    return [run for run in runs if root(run.info.run_id) not in needed | young | origins]


def _outputs(workspace: Workspace, keys: set[str | None], limit: float) -> list[Item]:
    """Outputs in the store that no kept run names, and that were not written lately."""
    found = []
    for entry in sorted(workspace.store.glob("*/*/entry.json")):
        folder = entry.parent
        if folder.suffix == "" and folder.name not in keys and entry.stat().st_mtime < limit:
            found.append(Item("output", _below(workspace, folder), size(folder), "no kept run used it"))
    return found


def _leftovers(workspace: Workspace, limit: float) -> list[Item]:
    from tasks.cache import newest

    paths = [*workspace.store.glob("*/*.partial"), *workspace.store.glob("*/*.old-*")]
    return [
        Item("leftover", _below(workspace, path), size(path), "of a run that was broken off")
        for path in sorted(paths)
        if newest(path) < limit or ".old-" in path.name
    ]


def _weights(client: MlflowClient, workspace: Workspace, runs: list[Run], limit: float) -> list[Item]:
    """Models among the artifacts that no version points to: a kill came between upload and registration."""
    sources = [
        str(version.source).rstrip("/") for version in client.search_model_versions(max_results=10_000)
    ]
    found = []
    for run in runs:
        uri = (run.info.artifact_uri or "").rstrip("/")
        folder = Path(uri.removeprefix("file://")) / "model"
        unreferenced = uri.startswith("file://") and f"{uri}/model" not in sources
        if run.data.tags.get("sear.stage") != "register" or not unreferenced:
            continue
        if folder.is_relative_to(workspace.mlruns) and folder.is_dir() and folder.stat().st_mtime < limit:
            found.append(Item("artifact", _below(workspace, folder), size(folder), "no version points to it"))
    return found


def _remove(workspace: Workspace, client: MlflowClient | None, items: list[Item]) -> None:
    from contextlib import suppress

    from filelock import FileLock, Timeout

    for item in items:
        path = workspace.root / item.name
        if item.kind == "run" and client is not None:
            uri = (client.get_run(item.name).info.artifact_uri or "").removeprefix("file://")
            client.delete_run(item.name)
            if uri and Path(uri).is_relative_to(workspace.mlruns):
                shutil.rmtree(uri, ignore_errors=True)
        elif item.kind == "artifact":
            shutil.rmtree(path, ignore_errors=True)
        elif item.kind in ("output", "leftover"):
            key = path.name.partition(".")[0]
            with (
                suppress(Timeout),
                FileLock(workspace.locks / f"{path.parent.name}-{key}.lock").acquire(timeout=0),
            ):
                grave = path.with_name(f"{key}.old-clean")  # gone under its name at once, whatever comes
                path.rename(grave)
                shutil.rmtree(grave)


def size(folder: Path) -> int:
    """Bytes of the files below a folder; hard links count where they stand."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _artifact_bytes(run: Run) -> int:
    uri = run.info.artifact_uri or ""
    folder = Path(uri.removeprefix("file://"))
    return size(folder) if uri.startswith("file://") and folder.is_dir() else 0


def _below(workspace: Workspace, path: Path) -> str:
    return path.relative_to(workspace.root).as_posix()


def print_clean(found: dict[str, Any]) -> None:
    for item in found["items"]:
        print(f"{item['bytes'] / 2**20:9.1f} MB  {item['kind']:9} {item['name']}: {item['why']}")
    count, total = len(found["items"]), found["bytes"] / 2**20
    if not count:
        print("nothing to remove")
    elif found["removed"]:
        print(f"removed {count} things, up to {total:.1f} MB")
    else:
        print(
            f"{count} things, up to {total:.1f} MB (hard links counted where they stand); --yes removes them"
        )
