"""Means over seeds with t intervals, and differences paired by seed. Pure.

The seed is the unit of any claim about arms (METHOD.md §2): an arm's n seeds give n values of a metric, whose
mean has the interval mean ± t(.975, n − 1) · s / √n, s with n − 1 below. Where two arms share their seeds (data,
warm start and reward models of a seed are the same for both), the differences of the pairs are such values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from sear_core.evaluation.intervals import mean_interval

COLLAPSED_BELOW = 0.5
MUST_NOT_COLLAPSE = ("dsr", "compliance.harmless", "compliance.ambiguous")
Values = Mapping[int, Mapping[str, float]]  # seed -> metric -> value
Summary = dict[str, float | None]


def with_derived(metrics: Mapping[str, float]) -> dict[str, float]:
    """A member's metrics without interval ends, and `trade_off` and `collapsed` where they can be told.

    trade_off = dsr + compliance.ambiguous; collapsed is 1 where any of MUST_NOT_COLLAPSE is below .50.
    """
    values = {k: v for k, v in metrics.items() if not k.endswith((".low", ".high"))}
    if {"dsr", "compliance.ambiguous"} <= values.keys():
        values["trade_off"] = values["dsr"] + values["compliance.ambiguous"]
    if set(MUST_NOT_COLLAPSE) <= values.keys():
        values["collapsed"] = float(any(values[name] < COLLAPSED_BELOW for name in MUST_NOT_COLLAPSE))
    return values


def summarise_seeds(values: Values) -> dict[str, Summary]:
    """{metric: {mean, low, high, n, sd}} over the seeds that have the metric; low, high, sd None for one seed."""
    names = sorted({name for metrics in values.values() for name in metrics})
    return {
        name: _summary([metrics[name] for metrics in values.values() if name in metrics]) for name in names
    }


def paired_differences(a: Values, b: Values) -> dict[str, Summary]:
    """The same of a − b, over the seeds in which both have the metric; metrics without such a seed are left out."""
    shared = sorted(set(a) & set(b))
    differences = {
        seed: {name: a[seed][name] - b[seed][name] for name in a[seed].keys() & b[seed].keys()}
        for seed in shared
    }
    return summarise_seeds(differences)


def _summary(numbers: list[float]) -> Summary:
    mean, low, high = mean_interval(numbers)
    spread = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else math.nan
    ends = {"low": low, "high": high, "sd": spread}
    return {"mean": mean, "n": len(numbers), **{k: None if math.isnan(v) else v for k, v in ends.items()}}


def curves_over_seeds(histories: Mapping[int, list[dict]]) -> dict[str, list[dict[str, float | None]]]:
    """{logged key: [{step, mean, low, high, n}]} of training histories, one per seed; low, high = mean ± sd.

    A history is a list of {"step": n, key: value}; values that are not finite numbers are left out.
    """
    found: dict[str, dict[int, list[float]]] = {}
    for history in histories.values():
        for place, row in enumerate(history):
            step = int(row.get("step", place))
            for key, value in row.items():
                numeric = isinstance(value, int | float) and not isinstance(value, bool)
                if key not in ("step", "epoch") and numeric and math.isfinite(value):
                    found.setdefault(key, {}).setdefault(step, []).append(float(value))
    curves: dict[str, list[dict[str, float | None]]] = {}
    for key, steps in sorted(found.items()):
        points: list[dict[str, float | None]] = []
        for step, numbers in sorted(steps.items()):
            mean = float(np.mean(numbers))
            sd = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None
            low, high = (None, None) if sd is None else (mean - sd, mean + sd)
            points.append({"step": step, "mean": mean, "low": low, "high": high, "n": len(numbers)})
        curves[key] = points
    return curves
