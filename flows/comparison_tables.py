"""What a person sees of `sear compare`: rates and paired differences, what chance does, worst slices, settings."""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from flows.compare import Comparison

_RATE = r"dsr(?:\.\w+)?|compliance\.harmless|compliance\.ambiguous(?:\.\w+)?|accuracy(?:\.\w+)?|perplexity"
_RATE += r"|reward_agreement|overpaid_rate"
_HEADLINE = re.compile(rf"(?:(?P<arm>(?!minimum_detectable|worst_slice)[\w-]+)\.)?(?:{_RATE})")


def print_comparison(comparison: Comparison, out: Console | None = None) -> None:
    """Headline metrics x runs, and what differs in config, code, data and seed; the JSON has every metric."""
    from rich.markup import escape

    from flows.render import console, short, table

    out = out or console()
    shown = table(out, "Metrics (95 % interval; difference to the first run)")
    shown.add_column("metric", no_wrap=True)
    for run in comparison.runs:
        shown.add_column(escape(f"{run.name}\n{run.run_id[:8]}"), justify="right", no_wrap=True)
    plain = _plain(comparison)
    for name, by_run in comparison.metrics.items():
        if not _headline(name, plain):
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
                paired = comparison.differences.get(run.run_id, {}).get(name)
                if paired is not None:
                    text += f" [{paired[1]:+.2f}, {paired[2]:+.2f}]"
            cells.append(escape(text))
        shown.add_row(escape(name), *cells)
    out.print(shown)
    _print_least(comparison, out)
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


def _print_least(comparison: Comparison, out: Console) -> None:
    """What the prompts can show, and where each run is worst."""
    from rich.markup import escape

    from flows.evaluation_tables import worst_line
    from flows.render import short

    least = [
        max(value.value for value in by_run.values())
        for name, by_run in comparison.metrics.items()
        if name in ("minimum_detectable.dsr", "minimum_detectable.compliance.ambiguous")
    ]
    if least and len(comparison.runs) > 1:
        out.print(
            f"differences below about {short(max(least))} are within what chance does with so many prompts, "
            f"unless the paired interval lies off 0",
            soft_wrap=True,
        )
    for run in comparison.runs:
        for metric, row in comparison.worst.get(run.run_id, {}).items():
            out.print(escape(f"{run.run_id[:8]}: {worst_line(metric, row)}"), soft_wrap=True)


def _headline(name: str, plain: bool) -> bool:
    """Safety and compliance, direct and attacked, and capability, of an arm (`sear.dsr`); of none: if `plain`."""
    found = _HEADLINE.fullmatch(name)
    return found is not None and (plain or found["arm"] is not None)


def _plain(comparison: Comparison) -> bool:
    """Does a run carry metrics of a single model alone, so that they have no arm's name before them?"""
    of_arms = {
        run
        for name, by in comparison.metrics.items()
        if (m := _HEADLINE.fullmatch(name)) and m["arm"]
        for run in by
    }
    return any(run.run_id not in of_arms for run in comparison.runs)
