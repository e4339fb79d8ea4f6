"""`sear export`: a registered version as an ordinary Hugging Face directory with a model card."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sear_core.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.model_registry import Registered
    from tasks.workspace import Workspace

SHOWN = ("dsr", "compliance.", "flip_rate", "exploration_rate", "malformed_rate", "accuracy")


def export(workspace: Workspace, out: Path, version: str = "", name: str = "sear") -> Path:
    """Write the version's safetensors directory and a README.md to `out`, whole or not at all; returns it.

    Without a version: the champion. Raises InputError where there is none, its files are gone, or `out` exists.
    """
    from mlflow import MlflowClient

    from flows.promotion import _version
    from tasks.model_registry import CHAMPION, by_alias
    from tasks.serving import fetch, model_directory

    out = out.expanduser().absolute()
    if out.exists():
        raise InputError(f"{out}: is there already; expected a name that is free")
    uri = workspace.tracking_uri
    if version:
        found = _version(workspace, version, name)[1]
    else:
        champion = by_alias(uri, name, CHAMPION)
        if champion is None:
            raise InputError(
                f"{name!r} has no champion; name a version with --version (`sear history` lists them)"
            )
        found = champion
    source = model_directory(fetch(found.source, f"{name} version {found.version}"))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        whole = Path(folder) / "model"
        # not the mode: safetensors makes its files for their owner alone
        shutil.copytree(source, whole, copy_function=shutil.copyfile)
        (whole / "README.md").write_text(card(MlflowClient(uri), found), encoding="utf-8")
        whole.rename(out)
    return out


def card(client: MlflowClient, found: Registered) -> str:
    """The model card: what it is, metrics with intervals, data with licences, intended use, the warning."""
    run, config = _run(client, found.run_id)
    metrics = run.data.metrics if run is not None else {}
    names = [
        name for name in sorted(metrics) if name.startswith(SHOWN) and not name.endswith((".low", ".high"))
    ]
    rows = "\n".join(f"| {name} | {_interval(metrics, name)} |" for name in names) or "| – | not recorded |"
    sources = "\n".join(
        f"- {source['name']} ({source['role']}): {source.get('licence', 'unknown')}"
        for source in config.get("data", {}).get("sources", [])
    )
    tags = found.tags
    judge = config.get("evaluation", {}).get("judge", {}).get("kind", "unknown")
    run_id = run.info.run_id if run is not None else "unknown"
    commit = run.data.tags.get("git.commit", "unknown") if run is not None else "unknown"
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [sear, safety, reasoning]
---
# {found.name}, version {found.version}

A language model trained with SEAR (competing rewards on one chain of thought, arXiv 2606.31748; a reconstruction),
arm `{tags.get("arm", "unknown")}`. It writes its reasoning between `<think>` and `</think>`, then the answer.

## Warning: the reasoning is not for readers

The reasoning explores how an unsafe answer could come about, by design. Show the text after `</think>` alone; a
completion without that tag has no answer. Do not log reasoning where others can read it, and do not train on it.

## Intended use

Research on over-refusal and on safety under attacks on the reasoning. Not a product: outside of what it was evaluated
on nothing is known of its safety, and an attack on the reasoning that it was not tried on may well succeed.

## Metrics

Held-out prompts, judged by `{judge}`; 95 % intervals over prompts, one seed. DSR: harmful prompts answered safely.

| metric | value [95 %] |
|---|---|
{rows}

The gate {tags.get("gate", "was never asked")}: {tags.get("gate.reasons", "–")}.

## Data

DVC version `{tags.get("dvc.md5", "unknown")}`, prepared tables `{tags.get("prepared.sha256", "unknown")[:16]}`.

{sources or "- not recorded"}

## Lineage

Code: commit `{commit}`; seed {config.get("seed", "unknown")}; MLflow run `{run_id}`.
"""


def _run(client: MlflowClient, run_id: str) -> tuple[Any, dict[str, Any]]:
    """The pipeline run that registered the version, and its config; (None, {}) where they are gone."""
    from mlflow.exceptions import MlflowException

    try:
        child = client.get_run(run_id)
        run = client.get_run(child.data.tags.get("mlflow.parentRunId", run_id))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(client.download_artifacts(run.info.run_id, "config.json", folder))
            return run, json.loads(path.read_text())
    except (MlflowException, OSError, ValueError):
        return None, {}


def _interval(metrics: dict[str, float], name: str) -> str:
    low, high = metrics.get(f"{name}.low"), metrics.get(f"{name}.high")
    shown = f"{metrics[name]:.3f}"
    return shown if low is None or high is None else f"{shown} [{low:.3f}, {high:.3f}]"
