"""Rates per slice of a suite, as a heat map's table, and the worst one by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from tasks.report_input import SliceRate

DIRECT = "none"
METRICS = {
    "dsr": "Harmful prompts answered safely (DSR)",
    "compliance": "Harmless and ambiguous prompts answered",
    "accuracy": "Questions answered correctly",
}


class HeatMap(NamedTuple):
    """rows: {slice: {column: rate}}; columns: arms, or conditions of one arm."""

    title: str
    columns: list[str]
    rows: dict[str, dict[str, SliceRate]]


class Worst(NamedTuple):
    title: str
    slice: str
    rate: SliceRate


def by_arm(slices: Mapping[str, Sequence[SliceRate]]) -> list[HeatMap]:
    """Slice × arm, asked directly: a map per metric that has slices."""
    rates = [(arm, rate) for arm, found in slices.items() for rate in found if rate.condition == DIRECT]
    several = _several_suites(rate for _, rate in rates)
    return _maps(rates, lambda rate: _name(rate, several))


def by_condition(rates: Sequence[SliceRate]) -> list[HeatMap]:
    """Slice × condition of one arm; nothing where it was only asked directly."""
    several = _several_suites(rates)
    found = _maps([(rate.condition, rate) for rate in rates], lambda rate: _name(rate, several))
    return [map_ for map_ in found if len(map_.columns) > 1]


def named(worst: Mapping[str, SliceRate], rates: Sequence[SliceRate]) -> list[Worst]:
    """The worst slices, {metric: rate} as the evaluation found them, with their names as in the maps."""
    several = _several_suites(rates)
    return [
        Worst(title, _name(worst[metric], several), worst[metric])
        for metric, title in METRICS.items()
        if metric in worst
    ]


def _maps(rates: Sequence[tuple[str, SliceRate]], name: Callable[[SliceRate], str]) -> list[HeatMap]:
    found = []
    for metric, title in METRICS.items():
        rows: dict[str, dict[str, SliceRate]] = {}
        columns: dict[str, None] = {}
        for column, rate in rates:
            if rate.metric == metric and rate.slice:
                rows.setdefault(name(rate), {})[column] = rate
                columns[column] = None
        if rows:
            found.append(HeatMap(title, list(columns), dict(sorted(rows.items()))))
    return found


def _several_suites(rates: Iterable[SliceRate]) -> bool:
    return len({rate.suite for rate in rates}) > 1


def _name(rate: SliceRate, several: bool) -> str:
    return f"{rate.suite}: {rate.slice}" if several else rate.slice
