"""`sear reproduce`: a recorded run again, from its commit, data version, config and seed, in a worktree of its own.

Caches, MLflow store and Prefect home are empty there, and the recorded commit's own code runs. What differs in
libraries or hardware is named: float arithmetic is promised to be equal on equal machines alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sear_core.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from tasks.workspace import Workspace

# A server's or another run's settings must not reach the reproduction.
FOREIGN = ("MLFLOW_", "PREFECT_", "SEAR_", "PYTHONPATH")


def reproduce(workspace: Workspace, run: str, data_root: Path | None = None) -> dict[str, Any]:
    """Reproduce a run; {"identical", "metrics": [{name, recorded, reproduced, identical}], "data", "differs_in", …}.

    data_root: where sources outside of the project's data/ lie now. Raises InputError where something recorded is
    missing, StageFailed where the reproduction itself fails.
    """
    from mlflow import MlflowClient

    from flows.compare import find, pipeline_runs
    from tasks import lineage
    from tasks.model_registry import store_exists
    from tasks.secrets import public

    uri = workspace.tracking_uri
    if not store_exists(uri):
        raise InputError(f"{public(uri)}: no run yet; `sear run` makes one")
    client = MlflowClient(uri)
    recorded = find(pipeline_runs(client), run)
    run_id, tags = recorded.info.run_id, recorded.data.tags
    if recorded.info.status != "FINISHED":
        raise InputError(f"run {run_id[:8]}: it is {recorded.info.status}; expected a finished run")
    commit = tags.get("git.commit", "none")
    if commit == "none":
        raise InputError(
            f"run {run_id[:8]}: it was recorded outside of a git repository; its code is not known"
        )
    config = json.loads(_artifact(client, run_id, "config.json"))
    patch = _artifact(client, run_id, "tree.patch") if tags.get("git.dirty") == "true" else ""
    before = json.loads(_artifact(client, run_id, "environment.json") or "{}")
    with tempfile.TemporaryDirectory(prefix="sear-reproduce-") as folder:
        tree = Path(folder) / "tree"
        with lineage.worktree(workspace.root, tree, commit):
            if patch:
                file = Path(folder) / "tree.patch"
                file.write_text(patch)
                lineage.apply_patch(tree, file)
            elif tags.get("git.dirty") == "true":
                raise InputError(
                    f"run {run_id[:8]}: its tree was not committed, and its tree.patch is not there"
                )
            # a cluster's workers do not see this worktree, and no result depends on them
            config.pop("runner", None)
            config["data"]["root"] = str(_sources(config["data"]["root"], workspace, tree, data_root))
            file = Path(folder) / "config.json"
            file.write_text(json.dumps(config))
            result = _run(tree, file)
    metrics = metrics_of_arms(client, recorded)
    return compare(metrics, tags, before, lineage.environment(), result) | {"run_id": run_id}


def metrics_of_arms(client: MlflowClient, run: Run) -> dict[str, float]:
    """{arm.metric: value} of a run's evaluations: all of them, where the parent run has the headlines alone."""
    children = client.search_runs(
        [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'", max_results=1000
    )
    return {
        f"{stage.removeprefix('evaluation.')}.{name}": value
        for child in children
        if (stage := child.data.tags.get("sear.stage", "")).startswith("evaluation.")
        for name, value in child.data.metrics.items()
    }


def _artifact(client: MlflowClient, run_id: str, name: str) -> str:
    """The text of a run's artifact; "" where it is not there."""
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(client.download_artifacts(run_id, name, folder)).read_text()
        except (MlflowException, OSError) as error:
            if name == "config.json":
                raise InputError(f"run {run_id[:8]}: its config.json cannot be read: {error}") from None
            return ""


def _sources(root: str, workspace: Workspace, tree: Path, data_root: Path | None) -> Path:
    """Where the reproduction reads its sources: the worktree's own data/, or what the user names."""
    if data_root is not None:
        return data_root.expanduser().absolute()
    there = workspace.resolve(root)
    if there.is_relative_to(workspace.root / "data"):
        return tree / there.relative_to(workspace.root)
    if there.is_dir():
        return there
    raise InputError(
        f"the run read its sources from {there}, which is not on this machine; name it with --data-root"
    )


def _run(tree: Path, config: Path) -> dict[str, Any]:
    from tasks.stage import StageFailed

    environment = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    done = subprocess.run(
        [sys.executable, "-m", "flows", "run", "--config", str(config), "--json"], cwd=tree,
        env=environment | {"PYTHONPATH": str(tree)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    if done.returncode:
        raise StageFailed(f"the reproduction ended with exit code {done.returncode}; its messages are above")
    return json.loads(done.stdout)


def compare(
    recorded: dict[str, float], tags: dict[str, str], before: dict[str, str], now: dict[str, str],
    result: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Every metric of every arm, recorded against reproduced, to the last bit; one that only one has differs."""
    cached = [stage["name"] for stage in result["stages"] if stage["cached"]]
    from tasks.stage import finite

    found = {
        f"{arm}.{name}": value for arm, metrics in result["arms"].items() for name, value in finite(metrics).items()
    }  # fmt: skip
    rows = [
        {"name": name, "recorded": recorded.get(name), "reproduced": found.get(name),
         "identical": recorded.get(name) == found.get(name)}
        for name in sorted({*recorded, *found})
    ]  # fmt: skip
    data = {"recorded": tags.get("dvc.md5", ""), "reproduced": result["data"]["dvc_md5"]}
    differs_in = {
        name: [before.get(name), now.get(name)]
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    }
    identical = bool(rows) and all(row["identical"] for row in rows)
    return {
        "schema_version": 1, "identical": identical and not cached and data["recorded"] == data["reproduced"],
        "metrics": rows, "data": data, "cached": cached, "differs_in": differs_in,
    }  # fmt: skip


def print_reproduction(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    out = Console()
    table = Table("metric", "recorded", "reproduced", "identical")
    for row in result["metrics"]:
        shown = ("–" if value is None else f"{value:.6f}" for value in (row["recorded"], row["reproduced"]))
        table.add_row(row["name"], *shown, "yes" if row["identical"] else "NO")
    out.print(table)
    same = sum(row["identical"] for row in result["metrics"])
    out.print(f"{same} of {len(result['metrics'])} metrics identical")
    if result["data"]["recorded"] != result["data"]["reproduced"]:
        out.print(f"data: recorded {result['data']['recorded']}, here {result['data']['reproduced']}")
    for name, (before, now) in result["differs_in"].items():
        out.print(f"differs: {name}: recorded {before}, here {now}", markup=False)
    if result["cached"]:
        out.print(f"taken from a cache, which proves nothing: {', '.join(result['cached'])}")
