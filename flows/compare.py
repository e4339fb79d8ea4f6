"""`sear compare`: runs side by side, from what their parent runs in MLflow carry. Reads only."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

from sear_core.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from rich.console import Console

    from tasks.workspace import Workspace

TAGS = ("git.commit", "git.dirty", "dvc.md5", "config.sha256", "seed", "arm")
NEWEST = 5  # runs named where one is not found


@dataclass(frozen=True)
class Value:
    """A metric of one run; NaN: there is no interval, or the first run has no value to differ from."""

    value: float
    low: float = nan
    high: float = nan
    difference: float = nan

    def as_json(self) -> dict[str, float | None]:
        return {k: v if isfinite(v) else None for k, v in vars(self).items()}


@dataclass(frozen=True)
class ComparedRun:
    run_id: str
    name: str
    status: str
    started: int  # ms since 1970
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """metrics: {name: {run id: Value}}; config_differences: {key: {run id: value}} of keys that differ."""

    runs: list[ComparedRun]
    metrics: dict[str, dict[str, Value]]
    config_differences: dict[str, dict[str, str | None]]

    def as_json(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "runs": [vars(run) for run in self.runs],
            "metrics": {n: {r: v.as_json() for r, v in by.items()} for n, by in self.metrics.items()},
            "config_differences": self.config_differences,
        }


def compare(runs: list[str], workspace: Workspace) -> Comparison:
    """Compare pipeline runs given by id, unique id prefix (6 characters or more) or name (the newest of it).

    Differences are to the first run. Raises InputError for an unknown or ambiguous run, naming the newest.
    """
    from mlflow import MlflowClient

    from flows.services import public
    from tasks.model_registry import store_exists
    from tasks.tracking import tracking_uri

    uri = tracking_uri(workspace)
    if not store_exists(uri):
        raise InputError(f"{public(uri)}: no run yet; `sear run` makes one")
    return compare_in(MlflowClient(uri), runs)


def compare_in(client: MlflowClient, runs: list[str]) -> Comparison:
    """The same in a given store."""
    if not runs:
        raise InputError("no run given; expected at least one run id or name")
    known = pipeline_runs(client)
    chosen = list({run.info.run_id: run for run in (find(known, name) for name in runs)}.values())
    return Comparison(
        runs=[
            ComparedRun(
                run.info.run_id, run.info.run_name or "", run.info.status, run.info.start_time or 0,
                {tag: run.data.tags[tag] for tag in TAGS if tag in run.data.tags},
            )
            for run in chosen
        ],
        metrics=_metrics(chosen),
        config_differences=_config_differences(chosen),
    )  # fmt: skip


def pipeline_runs(client: MlflowClient) -> list[Run]:
    """All parent runs of the store, newest first."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            experiments, "tags.`sear.kind` = 'pipeline'", max_results=1000, page_token=token,
            order_by=["attributes.start_time DESC"],
        )  # fmt: skip
        found.extend(page)
        token = page.token
        if not token:
            return found


def find(known: list[Run], name: str) -> Run:
    """One run of `known`, newest first. Raises InputError."""
    for run in known:
        if name in (run.info.run_id, run.info.run_name):
            return run
    found = [run for run in known if len(name) >= 6 and run.info.run_id.startswith(name)]
    if len(found) > 1:
        ids = ", ".join(run.info.run_id for run in found[:NEWEST])
        raise InputError(f"run {name!r}: {len(found)} runs begin so ({ids}); expected more digits")
    if not found:
        newest = ", ".join(f"{run.info.run_id[:8]} ({run.info.run_name})" for run in known[:NEWEST])
        raise InputError(
            f"no run {name!r}; expected an id, 6 digits of it or more, or a name; newest: {newest or 'none'}"
        )
    return found[0]


def _metrics(runs: list[Run]) -> dict[str, dict[str, Value]]:
    """Every metric of the runs: `<arm>.<metric>`, and the candidate's without an arm."""
    names = sorted({name for run in runs for name in run.data.metrics})
    values = [name for name in names if not name.endswith((".low", ".high"))]
    table: dict[str, dict[str, Value]] = {}
    for name in values:
        first = runs[0].data.metrics.get(name, nan)
        table[name] = {
            run.info.run_id: Value(
                run.data.metrics[name],
                run.data.metrics.get(f"{name}.low", nan),
                run.data.metrics.get(f"{name}.high", nan),
                run.data.metrics[name] - first,
            )
            for run in runs
            if name in run.data.metrics
        }
    return table


def _config_differences(runs: list[Run]) -> dict[str, dict[str, str | None]]:
    """Params, and the tags of code, data and seed, that differ between any two runs."""
    values = {
        run.info.run_id: {**run.data.params, **{t: run.data.tags[t] for t in TAGS if t in run.data.tags}}
        for run in runs
    }
    keys = sorted({key for of_run in values.values() for key in of_run} - {"config.sha256"})
    table = {key: {run: of_run.get(key) for run, of_run in values.items()} for key in keys}
    return {key: row for key, row in table.items() if len(set(row.values())) > 1}


def print_comparison(comparison: Comparison, out: Console | None = None) -> None:
    """Headline metrics x runs, and what differs in config, code, data and seed; the JSON has every metric."""
    from rich.markup import escape

    from flows.render import console, short, table

    out = out or console()
    shown = table(out, "Metrics (95 % interval; difference to the first run)")
    shown.add_column("metric", no_wrap=True)
    for run in comparison.runs:
        shown.add_column(escape(f"{run.name}\n{run.run_id[:8]}"), justify="right", no_wrap=True)
    for name, by_run in comparison.metrics.items():
        if not _headline(name):
            continue
        cells = []
        for place, run in enumerate(comparison.runs):
            value = by_run.get(run.run_id)
            if value is None:
                cells.append("-")
                continue
            text = short(value.value)
            if isfinite(value.low) and isfinite(value.high):
                text += f" [{short(value.low)}, {short(value.high)}]"
            if place and isfinite(value.difference):
                text += f"  {value.difference:+.2f}"
            cells.append(escape(text))
        shown.add_row(escape(name), *cells)
    out.print(shown)
    if comparison.config_differences:
        differing = table(out, "What differs between them")
        differing.add_column("key", no_wrap=True)
        for run in comparison.runs:
            differing.add_column(escape(run.run_id[:8]), overflow="fold")
        for key, row in comparison.config_differences.items():
            differing.add_row(escape(key), *(escape(str(row[run.run_id])) for run in comparison.runs))
        out.print(differing)
    elif len(comparison.runs) > 1:
        out.print("config, code, data and seed are the same", soft_wrap=True)


def _headline(name: str) -> bool:
    """`<arm>.dsr` and ambiguous compliance, direct and attacked, and direct harmless compliance."""
    return bool(re.search(r"\.(dsr(\.\w+)?|compliance\.harmless|compliance\.ambiguous(\.\w+)?)$", name))
