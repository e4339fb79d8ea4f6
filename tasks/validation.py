"""Stage *validate*: Great Expectations on every prepared table; a failed critical one stops the flow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.config import ValidationConfig
from tasks.handles import Handle, Validated
from tasks.stage import Job, RunContext, Stage, StageFailed, run_stage


def stage(config: ValidationConfig) -> Stage:
    return Stage(
        name="validate", module=__name__, handle=Validated, section=config.model_dump(mode="json"),
        needs=("prepare",), libraries=("tables", "gate"), essential=("result.json",), artifacts=("docs",),
    )  # fmt: skip


def compute(job: Job) -> dict[str, Any]:
    """Run the suites and write Data Docs; they are logged even when the gate closes."""
    from tasks.expectations import validate_tables
    from tasks.stage import write_json

    docs = job.out / "docs"
    result = validate_tables(Path(job.inputs["prepare"].path) / "tables", docs=docs, **job.section)
    write_json(job.out / "result.json", [failure.__dict__ for failure in result.failures])
    critical = [f for f in result.failures if f.severity == "critical"]
    warnings = len(result.failures) - len(critical)
    if critical:
        if job.log is not None and docs.exists():
            job.log.artifact(docs, "docs")
        told = "; ".join(
            f"{f.table}: {f.expectation}({f.column or '-'}) failed for {f.count} rows, "
            f"such as {', '.join(f.example_ids) or '-'}"
            for f in critical
        )
        raise StageFailed(f"the data gate is closed: {told}. Data Docs: {docs / 'index.html'}")
    return {"warnings": warnings, "metrics": {"warnings": float(warnings)}}


@task(name="validate", cache_policy=NO_CACHE, persist_result=False)
def run(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """The data gate."""
    return run_stage(stage, inputs, context)
