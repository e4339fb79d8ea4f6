"""Stage *validate*: Great Expectations on every prepared table; a failed critical one stops the flow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.config import ValidationConfig
from tasks.drift import previous_profile, profile, read_profile
from tasks.handles import Handle, PreparedData, Validated
from tasks.stage import Job, RunContext, Stage, StageFailed, run_stage
from tasks.workspace import Workspace


def stage(config: ValidationConfig) -> Stage:
    """What comes after hangs on the gate having been passed (gate.json), not on what it warned of."""
    return Stage(
        name="validate", module=__name__, handle=Validated, section=config.model_dump(mode="json"),
        needs=("prepare",), libraries=("tables", "gate"), state="previous", essential=("gate.json",),
        artifacts=("docs", "result.json"),
    )  # fmt: skip


def previous(stage: Stage, inputs: Mapping[str, Handle], workspace: Workspace) -> dict[str, str]:
    """Which data version this one is compared with, by its content: "" where there is none."""
    found = reference(stage.section, inputs, workspace)
    return {"previous": read_profile(found).of if found is not None else ""}


def reference(section: Mapping[str, Any], inputs: Mapping[str, Handle], workspace: Workspace) -> Path | None:
    """The profile of the version before: the file that the config names, else the newest one in the store."""
    if section["reference"]:
        return workspace.resolve(section["reference"])
    prepared = inputs["prepare"]
    assert isinstance(prepared, PreparedData)
    return previous_profile(workspace.store, Path(prepared.path), prepared.sha256)


def compute(job: Job) -> dict[str, Any]:
    """Run the suites and write Data Docs; they are logged even when the gate closes."""
    from tasks.expectations import read_tables, validate_rows
    from tasks.stage import write_json
    from tasks.suites import Limits

    docs, prepared = job.out / "docs", job.inputs["prepare"]
    assert isinstance(prepared, PreparedData)
    before = reference(job.section, job.inputs, Workspace(job.root))
    limits = Limits(**{key: value for key, value in job.section.items() if key != "reference"})
    tables = read_tables(Path(prepared.path) / "tables")
    result = validate_rows(tables, limits, docs=docs, before=read_profile(before) if before else None)
    write_json(job.out / "result.json", [failure.__dict__ for failure in result.failures])
    if result.critical:
        if job.log is not None and docs.exists():
            job.log.artifact(docs, "docs")
            job.log.artifact(job.out / "result.json")
        told = "; ".join(map(str, result.critical))
        raise StageFailed(f"the data gate is closed: {told}. Data Docs: {docs / 'index.html'}")
    write_json(job.out / "gate.json", {"passed": True})
    (job.out / "profile.json").write_text(profile(tables, prepared.sha256).model_dump_json() + "\n")
    # a metric is a matter of the data alone: what drift there is hangs on what was run before
    lasting = sum(not failure.drift for failure in result.warnings)
    return {"warnings": len(result.warnings), "metrics": {"warnings": float(lasting)}}


@task(name="validate", cache_policy=NO_CACHE, persist_result=False)
def run(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """The data gate."""
    return run_stage(stage, inputs, context)
