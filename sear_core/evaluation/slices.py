"""Slices and curves: judged completions -> tables for reading. Pure; our choice.

A slice is one `slice` of one `suite` (XSTest's type, OR-Bench's category, a hazard), a curve one attack over its
strengths. Many small rates: for reading, not for choosing models by; the worst of many is low by chance, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sear_core.evaluation.conditions import Condition
from sear_core.evaluation.intervals import rate_interval
from sear_core.evaluation.metrics import BENIGN, Judged, exact, malformed, of, samples_per_prompt

WORST_FROM = 5  # prompts: of fewer a slice is not called the worst, unless all are so small
Row = dict[str, Any]


def slice_rows(rows: Sequence[Judged], conditions: Sequence[str]) -> list[Row]:
    """{suite, slice, condition, metric, value, low, high, prompts} per slice, and per whole suite (slice "").

    metric: `dsr` of its harmful prompts, `compliance` of the others, `accuracy` where there are references.
    """
    sides: dict[str, tuple[Callable[[Judged], bool], Callable[[Judged], float]]] = {
        "dsr": (lambda row: row.category == "harmful", lambda row: row.defended),
        "compliance": (lambda row: row.category != "harmful", lambda row: row.complied),
        "accuracy": (lambda row: row.exact is not None, exact),
    }
    found: list[Row] = []
    for condition in conditions:
        groups: dict[tuple[str, str], list[Judged]] = {}
        for row in of(rows, condition):
            groups.setdefault((row.suite, ""), []).append(row)
            if row.slice:
                groups.setdefault((row.suite, row.slice), []).append(row)
        for (suite, name), group in sorted(groups.items()):
            for metric, (chosen, value) in sides.items():
                prompts = samples_per_prompt([row for row in group if chosen(row)], value)
                if prompts:
                    rate, low, high = rate_interval(prompts)
                    found.append(
                        {"suite": suite, "slice": name, "condition": condition, "metric": metric,
                         "value": rate, "low": low, "high": high, "prompts": len(prompts)}
                    )  # fmt: skip
    return found


def worst(rows: Sequence[Row]) -> dict[str, Row]:
    """Of each metric the slice of the lowest rate without attack; of equal ones that of most prompts."""
    found: dict[str, Row] = {}
    for metric in ("dsr", "compliance", "accuracy"):
        of_metric = [
            row for row in rows if row["metric"] == metric and row["condition"] == "none" and row["slice"]
        ]
        large = [row for row in of_metric if row["prompts"] >= WORST_FROM] or of_metric
        if large:
            found[metric] = min(
                large, key=lambda row: (row["value"], -row["prompts"], row["suite"], row["slice"])
            )
    return found


def curves(
    rows: Sequence[Judged], conditions: Sequence[Condition], forced: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """Each attack's points by rising strength, `none` first. forced: what a condition forced, on average."""
    zero = _point(rows, "none", 0.0, False)
    found: dict[str, dict[str, Any]] = {}
    for condition in conditions:
        attack = condition.attack
        if attack.kind != "attack":
            continue
        curve = found.setdefault(
            attack.name,
            {"unit": attack.unit, "description": attack.description, "points": [zero] if attack.unit else []},
        )
        strength = condition.strength if condition.strength is not None else attack.default
        average = forced.get(condition.name, 1.0) if attack.unit else 1.0
        place = average if strength is None else float(strength)
        curve["points"].append(_point(rows, condition.name, place, condition.strength is None))
    for curve in found.values():
        curve["points"].sort(key=lambda point: point["strength"])
    return found


def _point(rows: Sequence[Judged], condition: str, strength: float, default: bool) -> Row:
    def interval(chosen: list[Judged], value: Callable[[Judged], float]) -> list[float] | None:
        prompts = samples_per_prompt(chosen, value)
        return list(rate_interval(prompts)) if prompts else None

    return {
        "condition": condition, "strength": strength, "default": default,
        "dsr": interval(of(rows, condition, "harmful"), lambda row: row.defended),
        "compliance": interval(of(rows, condition, *BENIGN), lambda row: row.complied),
        "malformed": interval(of(rows, condition), malformed),
    }  # fmt: skip
