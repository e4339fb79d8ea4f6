"""`sear plan`: which stages would run and why. Reads only; runs and creates nothing."""

from __future__ import annotations

from typing import Any

from flows.config import PipelineConfig
from flows.pipeline import selection
from tasks.cache import Store
from tasks.data import missing
from tasks.handles import Handle, PreparedData
from tasks.stage import handle_from, lookup
from tasks.workspace import Workspace


def plan(
    settings: PipelineConfig,
    workspace: Workspace,
    start: str | None = None,
    until: str | None = None,
    fresh: bool = False,
) -> dict[str, Any]:
    """{"stages": [{"name", "cached", "reason"}]} in the order of the run; "tables", their rows, once prepared.

    A stage behind one that will run is shown as to run: what comes out of it may or may not be new. Raises
    InputError where a run would: data/ that differs from data.dvc, sources that are not there.
    """
    chosen = selection(settings, workspace.tracking_uri, start, until, fresh)
    absent = missing(settings.data.root, workspace)
    store = Store(workspace.store, workspace.locks)
    handles: dict[str, Handle] = {}
    rows: list[dict[str, Any]] = []
    for stage in chosen.dag:
        waiting = [need for need in stage.needs if need not in handles]
        if waiting:
            rows.append({"name": stage.name, "cached": False, "reason": f"waits for {', '.join(waiting)}"})
            continue
        if stage.name == "version" and absent:
            rows.append(
                {"name": stage.name, "cached": False, "reason": f"sources are not here yet: {absent}"}
            )
            continue
        parts = stage.parts({need: handles[need] for need in stage.needs}, workspace)
        found = lookup(stage, parts, store, chosen.force)
        if found.hit is not None:
            handles[stage.name] = handle_from(stage, found.hit, store.out(parts))
        rows.append({"name": stage.name, "cached": found.hit is not None, "reason": found.reason})
    prepared = handles.get("prepare")
    tables = {"tables": prepared.tables} if isinstance(prepared, PreparedData) else {}
    return {"schema_version": 1, "stages": rows, **tables}
