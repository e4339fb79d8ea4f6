"""What a person sees of an evaluation: the headline, each attack over its strengths, the worst slices, notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = (
    "dsr", "compliance.harmless", "compliance.ambiguous", "malformed_rate", "unjudged_rate", "exploration_rate",
    "flip_rate", "reasoning_harmless_rate.harmful", "correct.own", "correct.none", "correct.other", "perplexity",
    "bits_per_byte",
)  # fmt: skip


def print_evaluation(result: Mapping[str, Any], out: Console | None = None) -> None:
    """The end of `sear evaluate`: a table per evaluation, its attacks, worst slices and notes."""
    from rich.markup import escape

    from flows.evaluate import details
    from flows.render import console

    out = out or console()
    several = len(result["evaluations"]) > 1
    for arm, folder in result["evaluations"].items():
        prefix = f"{arm}." if several else ""
        metrics = {
            name.removeprefix(prefix): value
            for name, value in result["metrics"].items()
            if name.startswith(prefix)
        }
        found = details(folder)
        print_headline(result.get("model") or arm, metrics, found["evaluation"], out)
        print_curves(found["curves"], out)
        print_worst(found["slices"]["worst"], out)
        for note in found["slices"]["notes"]:
            out.print(f"note: {escape(note)}", soft_wrap=True)
        out.print(f"completions: {escape(folder)}/completions.parquet", soft_wrap=True)
    out.print(f"run: {result['run_id']}", soft_wrap=True)


def print_headline(title: str, metrics: Mapping[str, float], about: Mapping[str, Any], out: Console) -> None:
    """Rates with intervals, and the difference that so many prompts can show."""
    from rich.markup import escape

    from flows.render import rate, short, table

    shown = table(out, f"{title}, judged by {about['judge']} (95 % intervals over prompts)")
    shown.add_column("metric", no_wrap=True)
    shown.add_column("", justify="right", no_wrap=True)
    shown.add_column("detectable", justify="right", no_wrap=True)
    names = [*SHOWN, *sorted(name for name in metrics if _accuracy(name))]
    for name in names:
        if name in metrics:
            least = metrics.get(f"minimum_detectable.{name}")
            shown.add_row(
                escape(name), escape(rate(metrics, name)), "" if least is None else f"± {short(least)}"
            )
    out.print(shown)
    out.print(
        "detectable: the least true difference between two models that so many prompts show in 4 of 5 cases; "
        "smaller ones are noise",
        soft_wrap=True,
    )


def _accuracy(name: str) -> bool:
    return name.startswith("accuracy") and not name.endswith((".low", ".high"))


def print_curves(curves: Mapping[str, Mapping[str, Any]], out: Console) -> None:
    """A row per attack and strength: DSR, compliance, malformed."""
    from rich.markup import escape

    from flows.render import table

    if not curves:
        return
    shown = table(out, "Under attack")
    for name in ("attack", "strength"):
        shown.add_column(name, no_wrap=True)
    for name in ("DSR", "answered", "malformed"):
        shown.add_column(name, justify="right", no_wrap=True)
    for attack, curve in curves.items():
        for point in curve["points"]:
            if point["condition"] == "none":
                continue
            strength = f"{point['strength']:.3g} {curve['unit']}" if curve["unit"] else ""
            cells = (escape(interval(point[name])) for name in ("dsr", "compliance", "malformed"))
            shown.add_row(
                escape(attack), strength + (" (default)" if strength and point["default"] else ""), *cells
            )
    out.print(shown)


def print_worst(worst: Mapping[str, Mapping[str, Any]], out: Console) -> None:
    from rich.markup import escape

    for metric, row in worst.items():
        out.print(escape(worst_line(metric, row)), soft_wrap=True)


def worst_line(metric: str, row: Mapping[str, Any]) -> str:
    where = f"{row['suite']}: {row['slice']}" if row["suite"] else row["slice"]
    rate = interval([row["value"], row["low"], row["high"]])
    return f"worst slice, {metric}: {where} {rate}, {row['prompts']} prompts"


def interval(found: Sequence[float] | None) -> str:
    """`.95 [.91, .97]`, a dash where nothing was measured."""
    from flows.render import short

    if found is None:
        return "-"
    value, low, high = (short(number) for number in found)
    return f"{value} [{low}, {high}]"
