"""Two models on the same prompts: paired differences of the headline metrics, with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from sear_core.evaluation.intervals import paired_difference
from sear_core.evaluation.metrics import BENIGN, Judged, per_prompt
from sear_core.schema import CATEGORIES

Interval = tuple[float, float, float]


def read_judged(path: Path) -> list[Judged]:
    """The judged completions of an evaluation's `completions.parquet`; texts are not read."""
    names = [name for name in Judged.__dataclass_fields__ if name != "outcome"]
    rows = pq.read_table(path, columns=[*names, "verdict"]).to_pylist()
    return [Judged(outcome=row.pop("verdict"), **row) for row in rows]


def differences(a: Sequence[Judged], b: Sequence[Judged], seed: int) -> dict[str, Interval]:
    """{metric: (a - b, low, high)} of `dsr` and `compliance.*`, direct and under each condition of both; `accuracy`.

    Only prompts that both models answered under a condition count; a metric without any is left out.
    """
    conditions = sorted({row.condition for row in a} & {row.condition for row in b})
    found: dict[str, Interval] = {}
    for condition in conditions:
        if condition in ("no_reasoning", "other_reasoning"):
            continue
        suffix = "" if condition == "none" else f".{condition}"
        metrics: dict[str, tuple[tuple[str, ...], Callable[[Judged], float]]] = {
            f"dsr{suffix}": (("harmful",), lambda row: row.defended),
            **{f"compliance.{c}{suffix}": ((c,), lambda row: row.complied) for c in BENIGN},
        }
        if condition == "none":
            metrics["accuracy"] = (CATEGORIES, _exact)
        for name, (categories, value) in metrics.items():
            pairs = _pairs(a, b, condition, categories, value)
            if pairs:
                found[name] = paired_difference([x for x, _ in pairs], [y for _, y in pairs], seed)
    return found


def _exact(row: Judged) -> float:
    return math.nan if row.exact is None else float(row.exact)


def _pairs(
    a: Sequence[Judged],
    b: Sequence[Judged],
    condition: str,
    categories: tuple[str, ...],
    value: Callable[[Judged], float],
) -> list[tuple[float, float]]:
    sides = []
    for rows in (a, b):
        chosen: dict[str, list[Judged]] = {}
        for row in rows:
            if row.condition == condition and row.category in categories:
                chosen.setdefault(row.id, []).append(row)
        means = {key: per_prompt(group, value) for key, group in chosen.items()}
        sides.append({key: mean[0] for key, mean in means.items() if mean})
    return [(sides[0][key], sides[1][key]) for key in sorted(set(sides[0]) & set(sides[1]))]
