"""`sear compare`: runs side by side, from what their runs in MLflow carry and the store still holds. Reads only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.evaluations import KINDS, evaluations_of, main_arm
from sear_core.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from tasks.workspace import Workspace

TAGS = ("git.commit", "git.dirty", "dvc.md5", "config.sha256", "seed", "arm")
NEWEST = 5  # runs named where one is not found
Interval = tuple[float, float, float]


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
    """metrics: {name: {run id: Value}}; config_differences: {key: {run id: value}} of keys that differ.

    differences: {run id: {metric: (this - first, low, high)}}, paired over the prompts that both were asked, of
    the metrics as the runs carry them; where the completions of both are still in this machine's store.
    worst: {run id: {metric: the row of its worst slice}}.
    """

    runs: list[ComparedRun]
    metrics: dict[str, dict[str, Value]]
    config_differences: dict[str, dict[str, str | None]]
    differences: dict[str, dict[str, Interval]] = field(default_factory=dict)
    worst: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "runs": [vars(run) for run in self.runs],
            "metrics": {n: {r: v.as_json() for r, v in by.items()} for n, by in self.metrics.items()},
            "config_differences": self.config_differences,
            "differences": {
                run: {name: [x if isfinite(x) else None for x in found] for name, found in by.items()}
                for run, by in self.differences.items()
            },
            "worst": self.worst,
        }


def compare(runs: list[str], workspace: Workspace) -> Comparison:
    """Compare runs given by id, unique id prefix (6 characters or more) or name (the newest of it).

    Differences are to the first run. Raises InputError for an unknown or ambiguous run, naming the newest.
    """
    from mlflow import MlflowClient

    from tasks.model_registry import store_exists
    from tasks.secrets import public

    uri = workspace.tracking_uri
    if not store_exists(uri):
        raise InputError(f"{public(uri)}: no run yet; `sear run` makes one")
    return compare_in(MlflowClient(uri), runs, workspace.store)


def compare_in(client: MlflowClient, runs: list[str], store: Path | None = None) -> Comparison:
    """The same in a given MLflow store; `store`: where the stages' outputs lie, None: differences unpaired only."""
    if not runs:
        raise InputError("no run given; expected at least one run id or name")
    known = runs_of(client, KINDS)
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
        **({} if store is None else _from_store(client, chosen, store)),
    )  # fmt: skip


def pipeline_runs(client: MlflowClient) -> list[Run]:
    """All pipeline runs of the store, newest first."""
    return runs_of(client, ("pipeline",))


def runs_of(client: MlflowClient, kinds: Sequence[str]) -> list[Run]:
    """All runs of these kinds (flows/evaluations.py), newest first."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found: list[Run] = []
    for kind in kinds:
        token = None
        while True:
            page = client.search_runs(
                experiments, f"tags.`sear.kind` = '{kind}'", max_results=1000, page_token=token,
                order_by=["attributes.start_time DESC"],
            )  # fmt: skip
            found.extend(page)
            token = page.token
            if not token:
                break
    return sorted(found, key=lambda run: -(run.info.start_time or 0))


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


def _from_store(client: MlflowClient, runs: list[Run], store: Path) -> dict[str, Any]:
    """`differences` and `worst` of the runs whose evaluations are there."""
    from tasks.tracking import clean_metric_name

    places = {run.info.run_id: evaluations_of(client, run, store) for run in runs}
    names = {run.info.run_id: main_arm(run, places[run.info.run_id]) for run in runs}
    first = runs[0].info.run_id
    found: dict[str, dict[str, Interval]] = {}
    for run in list(places)[1:]:
        pairs = [(arm, arm, f"{arm}.") for arm in places[first] if arm in places[run]]
        mine, theirs = names[run], names[first]
        if mine is not None and theirs is not None:
            pairs.append((mine, theirs, ""))
        found[run] = {
            clean_metric_name(prefix + name): values  # as the runs carry them
            for ours, other, prefix in pairs
            for name, values in _paired(places[run][ours], places[first][other]).items()
        }
    worst = {run: _worst(places[run][arm]) for run, arm in names.items() if arm is not None}
    return {"differences": found, "worst": worst}


def _paired(a: Path, b: Path) -> dict[str, Interval]:
    from sear_core.evaluation.differences import differences, read_judged

    return differences(read_judged(a / "completions.parquet"), read_judged(b / "completions.parquet"), seed=0)


def _worst(folder: Path) -> dict[str, Any]:
    path = folder / "slices.json"
    return json.loads(path.read_text("utf-8")).get("worst", {}) if path.is_file() else {}


def _config_differences(runs: list[Run]) -> dict[str, dict[str, str | None]]:
    """Params, and the tags of code, data and seed, that differ between any two runs."""
    values = {
        run.info.run_id: {**run.data.params, **{t: run.data.tags[t] for t in TAGS if t in run.data.tags}}
        for run in runs
    }
    keys = sorted({key for of_run in values.values() for key in of_run} - {"config.sha256"})
    table = {key: {run: of_run.get(key) for run, of_run in values.items()} for key in keys}
    return {key: row for key, row in table.items() if len(set(row.values())) > 1}
