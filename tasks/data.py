"""Stages *version* and *prepare*: which bytes this run reads, and the tables made of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.config import DataConfig
from tasks.handles import DataVersion, Handle, PreparedData
from tasks.stage import Job, RunContext, Stage, finite, run_stage
from tasks.workspace import Workspace


def version_stage(config: DataConfig) -> Stage:
    paths = sorted({source.path for source in config.sources if source.path})
    # a data set on the hub is versioned by the revision that the config names
    hub = sorted({f"{s.hub}/{s.subset or ''}/{s.part}@{s.revision or ''}" for s in config.sources if s.hub})
    section = {"root": config.root, "paths": paths} | ({"hub": hub} if hub else {})
    return Stage(
        name="version", module=__name__, handle=DataVersion, compute="compute_version", state="source_state",
        section=section,
    )  # fmt: skip


def prepare_stage(config: DataConfig, seed: int) -> Stage:
    section = config.model_dump(mode="json", exclude={"root"}) | {"seed": seed}
    return Stage(
        name="prepare", module=__name__, handle=PreparedData, compute="compute_prepare", section=section,
        needs=("version",), libraries=("tables",), essential=("tables/",),
        artifacts=("card.md", "card.json", "report.json"),
    )  # fmt: skip


def source_state(stage: Stage, inputs: Mapping[str, Handle], workspace: Workspace) -> dict[str, str]:
    """The DVC directory hash of the sources where they lie now; they must be there (`ensure`)."""
    from tasks.dvc_adapter import data_version

    root = workspace.resolve(stage.section["root"])
    return {"dvc_md5": data_version(root, stage.section["paths"]), "root": str(root)}


def ensure(config_root: str, workspace: Workspace) -> None:
    """Have the project's own sources in place and as `data.dvc` says; sources elsewhere are the user's.

    Raises InputError where they are missing, cannot be pulled or rebuilt, or differ from `data.dvc`.
    """
    from tasks.sources_in_place import ensure_sources

    if _own(config_root, workspace):
        ensure_sources(workspace.root)


def missing(config_root: str, workspace: Workspace) -> str:
    """Why a run would first have to rebuild or pull the sources; "" where they are in place. Reads only.

    Raises InputError, as `ensure` would, where they differ from `data.dvc`.
    """
    from tasks.sources_in_place import missing_sources

    return missing_sources(workspace.root) if _own(config_root, workspace) else ""


def _own(config_root: str, workspace: Workspace) -> bool:
    return workspace.resolve(config_root).is_relative_to(workspace.root / "data")


def compute_version(job: Job) -> dict[str, Any]:
    """Record the data version: its hash and the number of rows (lines) read."""
    from sear_core.data.sources import count_rows
    from tasks.dvc_adapter import data_version

    root = (job.root / Path(job.section["root"]).expanduser()).resolve()
    paths = job.section["paths"]
    rows = sum(count_rows(root, path) for path in paths)
    return {
        "path": str(root),
        "md5": data_version(root, paths),
        "rows": rows,
        "metrics": {"rows": float(rows)},
    }


def compute_prepare(job: Job) -> dict[str, Any]:
    """Sources to schema tables under `tables/`, with a report and a data card beside them."""
    from sear_core.data.preparation import prepare, table_hash
    from sear_core.data.sources import Source

    section = dict(job.section)
    sources = [Source(**source) for source in section.pop("sources")]
    if section.get("tokenizer"):
        section["tokenizer"] = str((job.root / Path(section["tokenizer"]).expanduser()).resolve())
    report = prepare(root=Path(job.inputs["version"].path), sources=sources, out=job.out, **section)
    tables = job.out / "tables"
    return {
        "sha256": table_hash(tables),
        "tables": report.rows,
        "metrics": finite(
            {f"rows.{name}": n for name, n in report.rows.items()} | {"removed": report.removed}
        ),
    }


@task(name="version", cache_policy=NO_CACHE, persist_result=False)
def run_version(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """Check or rebuild the sources, then name their version."""
    ensure(stage.section["root"], context.workspace)
    context.tags["dvc.md5"] = source_state(stage, inputs, context.workspace)["dvc_md5"]
    return run_stage(stage, inputs, context)


@task(name="prepare", cache_policy=NO_CACHE, persist_result=False)
def run_prepare(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """Sources to prepared tables."""
    return run_stage(stage, inputs, context)
