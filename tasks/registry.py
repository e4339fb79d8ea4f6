"""Stage *register*: the candidate becomes a model version; `champion` moves when the gate has passed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.handles import Handle, Registration
from tasks.stage import Job, RunContext, Stage, run_stage
from tasks.workspace import Workspace


def stage(candidate: str, name: str, approval: bool) -> Stage:
    """approval: a person promotes, even what has passed the gate."""
    model = "warm_start" if candidate == "sft" else f"policy.{candidate}"
    return Stage(
        name="register", module=__name__, handle=Registration,
        section={"name": name, "arm": candidate, "approval": approval},
        needs=("version", "prepare", "compare", model), libraries=("report",), state="store_state",
        essential=("pyfunc/",), artifacts=("decision.json",), arm=candidate,
    )  # fmt: skip


def store_state(stage: Stage, inputs: Mapping[str, Handle], workspace: Workspace) -> dict[str, str]:
    """Another tracking store needs its own registration; hashed, for a URI may hold a password."""
    return {"store": hashlib.sha256(workspace.tracking_uri.encode()).hexdigest()}


def compute(job: Job) -> dict[str, Any]:
    """Write the pyfunc directory (models from code, weights as its artifact), register it, set the aliases.

    A version that an earlier try of the same stage made, before it was killed, is taken instead of a second one.
    """
    from tasks import model_registry
    from tasks.serving import save_pyfunc
    from tasks.stage import write_json

    assert job.log is not None
    decision = json.loads((Path(job.inputs["compare"].path) / "comparison.json").read_text())
    model = next(h for n, h in job.inputs.items() if n == "warm_start" or n.startswith("policy."))
    pyfunc = save_pyfunc(Path(model.path) / "model", job.out / "pyfunc")
    client, run_id = job.log.client, job.log.run_id
    candidate = decision["arms"][job.arm]
    tags = {
        model_registry.MD5_TAG: model.md5,
        "evaluation.md5": decision["evaluation_md5"],
        model_registry.RIVAL_TAG: decision["rival"],
        "dvc.md5": job.inputs["version"].md5,
        "prepared.sha256": getattr(job.inputs["prepare"], "sha256", ""),
        "arm": job.arm,
        model_registry.KEY_TAG: job.key,
        "gate": "passed" if decision["promote"] else "failed",
        "gate.reasons": "; ".join(decision["reasons"])[:5000],
        **{f"{model_registry.METRIC_TAG}{k}": f"{v:.6f}" for k, v in candidate.items()
           if k in ("dsr", "compliance.harmless", "compliance.ambiguous")},
    }  # fmt: skip
    name = job.section["name"]
    version = model_registry.of_key(client.tracking_uri, name, job.key)
    if version is None:
        source = model_registry.link_or_upload(client, run_id, pyfunc, "model")
        version = model_registry.create(client.tracking_uri, name, source, run_id, tags)
    promoted = decision["promote"] and not job.section["approval"]
    model_registry.set_aliases(client.tracking_uri, name, version, promoted)
    result = {
        "name": name,
        "version": version,
        "passed": decision["promote"],
        "promoted": promoted,
        "reasons": decision["reasons"],
    }
    write_json(job.out / "decision.json", result)
    return result


@task(name="register", cache_policy=NO_CACHE, persist_result=False)
def run(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """Register once; again only where the registry has lost the version. Files that it has lost are linked again."""
    from tasks import model_registry

    handle = run_stage(stage, inputs, context)
    assert isinstance(handle, Registration)
    found = model_registry.by_version(context.tracker.uri, handle.name, handle.version)
    if found is None:
        context.outcomes.pop()
        return run_stage(stage, inputs, replace(context, force=context.force | {stage.name}))
    if model_registry.restore(context.tracker.client, found, Path(handle.path) / "pyfunc"):
        context.progress.say(
            f"register: the files of version {found.version} were gone, and are linked again"
        )
    return handle
