"""The report's figures, as small self-contained SVG.

Each function returns one `<svg>` element: no scripts, fonts or references outside itself, the same bytes for
the same numbers. Lines and text that carry no arm's colour are drawn in `currentColor`, so one figure serves
light, dark and print. Metric dicts are the flat ones of the evaluation: `name`, `name.low`, `name.high`.
matplotlib is imported late, and its pyplot state is not touched.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from math import isfinite, isnan, nan
from typing import Any

Metrics = Mapping[str, float]

INK = "#010203"  # drawn as currentColor
ARM_COLOURS = {
    "sft": "#8a8f98", "grpo": "#3d85c6", "grpo_sum": "#2a9d8f",
    "sear_outcome": "#a877b8", "sear": "#dd6b20", "recap": "#c2a022",
}  # fmt: skip
SPARE_COLOURS = ("#c0507a", "#5b8c3a", "#6a6fc9", "#9c6644")
KIND_COLOURS = ("#3d85c6", "#dd6b20", "#2a9d8f", "#a877b8")  # not arms
ATTACK_MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">")

# training curves: title -> the first of these keys that a history has
PANELS: dict[str, tuple[str, ...]] = {
    "answer reward": ("reward/answer", "reward"),
    "exploration rate, harmful": ("exploration_rate/harmful", "exploration_rate"),
    "flip rate": ("flip_rate",),
    "KL to the warm start": ("kl",),
    "dead groups (share)": ("dead_groups", "frac_reward_zero_std"),
    "reasoning length (tokens)": ("length/reasoning", "completions/mean_length"),
}
MAX_LABEL = 28  # characters
MAX_POINTS = 300  # of a curve, evenly thinned, to keep the report small


def colour(arm: str, arms: Sequence[str] = ()) -> str:
    """An arm's colour: its own, or a spare one by its place among the arms that have none."""
    if arm in ARM_COLOURS:
        return ARM_COLOURS[arm]
    others = [name for name in arms if name not in ARM_COLOURS]
    return SPARE_COLOURS[(others.index(arm) if arm in others else 0) % len(SPARE_COLOURS)]


def attack_names(arms: Mapping[str, Metrics]) -> list[str]:
    """The attacks `a` of which any arm has a `dsr.<a>`, in order of appearance; other strengths `a@k` left out."""
    found = (
        key.removeprefix("dsr.") for metrics in arms.values() for key in metrics if key.startswith("dsr.")
    )
    other = re.compile(r"(^|\.)(low|high)$|@")
    return list(dict.fromkeys(name for name in found if not other.search(name)))


def _error(metrics: Metrics, name: str) -> list[list[float]]:
    """matplotlib's asymmetric error bar, lengths below and above; no bar where there is no interval."""
    value = metrics[name]
    low, high = metrics.get(f"{name}.low", nan), metrics.get(f"{name}.high", nan)
    return [
        [max(0.0, value - low) if isfinite(low) else 0.0],
        [max(0.0, high - value) if isfinite(high) else 0.0],
    ]


def _has(metrics: Metrics, *names: str) -> bool:
    return all(isfinite(metrics.get(name, nan)) for name in names)


def _plain(text: str) -> str:
    """A label without mathtext, cut where it would crowd out the figure."""
    text = text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"
    return text.replace("$", r"\$")


def _axes(columns: int, rows: int, width: float, height: float) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    axes = [axis for row in grid for axis in row]
    for axis in axes:
        axis.set_facecolor("none")
        axis.grid(True, color=INK, alpha=0.12, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(INK)
        axis.tick_params(colors=INK, labelsize=8.5, width=0.6, length=3)
    return figure, axes


def _legend(owner: Any, **options: Any) -> None:
    legend = owner.legend(frameon=False, fontsize=8.5, labelcolor=INK, **options)
    for text in legend.get_texts():
        text.set_color(INK)


def _svg(figure: Any, name: str) -> str:
    """The figure as one `<svg>` element; ids are salted by name, so that figures can share a page."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif"}):
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    # element ids that matplotlib numbers by itself (figure_1, text_3) would collide between figures
    text = re.sub(r'<g id="[\w.]+_\d+">', "<g>", text)
    text = re.sub(r'(font: [\d.]+px )[^;"]*', r"\1sans-serif", text)
    text = text.replace(INK, "currentColor")
    return text.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)


def trade_off(arms: Mapping[str, Metrics]) -> str:
    """x = DSR, y = compliance on ambiguous prompts; filled: direct, with 95 % bars; open: under an attack."""
    from matplotlib.lines import Line2D

    figure, (axis,) = _axes(1, 1, 7.2, 5.0)
    markers = dict(zip(attack_names(arms), cycle(ATTACK_MARKERS), strict=False))
    handles = []
    for arm, metrics in arms.items():
        tint = colour(arm, list(arms))
        direct = _has(metrics, "dsr", "compliance.ambiguous")
        for attack, marker in markers.items():
            x, y = f"dsr.{attack}", f"compliance.ambiguous.{attack}"
            if not _has(metrics, x, y):
                continue
            if direct:
                axis.plot(
                    [metrics["dsr"], metrics[x]], [metrics["compliance.ambiguous"], metrics[y]],
                    color=tint, linewidth=0.8, linestyle=":", alpha=0.6,
                )  # fmt: skip
            axis.plot(metrics[x], metrics[y], marker=marker, markersize=7, markerfacecolor="none",
                      markeredgecolor=tint, markeredgewidth=1.4, linestyle="none")  # fmt: skip
        if direct:
            axis.errorbar(
                metrics["dsr"], metrics["compliance.ambiguous"], xerr=_error(metrics, "dsr"),
                yerr=_error(metrics, "compliance.ambiguous"), fmt="o", color=tint, markersize=9, capsize=3,
                elinewidth=1.2,
            )  # fmt: skip
        handles.append(
            Line2D([], [], marker="o", linestyle="none", color=tint, markersize=8, label=_plain(arm))
        )
    for attack, marker in markers.items():
        handles.append(Line2D([], [], marker=marker, linestyle="none", markerfacecolor="none", markersize=7,
                              markeredgecolor=INK, label=_plain(attack.replace("_", " "))))  # fmt: skip
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    _percent(axis.xaxis)
    _percent(axis.yaxis)
    axis.set_xlabel("safety: defence success rate →", color=INK)
    axis.set_ylabel("helpfulness: ambiguous prompts answered →", color=INK)
    _legend(axis, handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure, "trade-off between safety and compliance")


def training_curves(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """One panel per logged value that any arm has, a line per arm over updates; "" where nothing was logged.

    histories: {arm: [{"step": n, key: value, …}, …]}; a row without `step` counts by its place.
    """
    panels: list[tuple[str, dict[str, list[tuple[float, float]]]]] = []
    for title, keys in PANELS.items():
        lines = {arm: points for arm, rows in histories.items() if len(points := _points(rows, keys)) > 1}
        if lines:
            panels.append((title, lines))

    def draw(axis: Any, arm: str, points: list[tuple[float, float]]) -> None:
        xs, ys = zip(*points, strict=True)
        axis.plot(xs, ys, color=colour(arm, list(histories)), linewidth=1.4, label=_plain(arm))

    return over_updates(panels, draw, "training curves")


def over_updates(
    panels: Sequence[tuple[str, Mapping[str, Any]]], draw: Callable[[Any, str, Any], None], title: str
) -> str:
    """Panels [(title, {arm: its line})], each line drawn by `draw(axis, arm, line)`, one legend; "" for no panels."""
    from matplotlib.ticker import MaxNLocator

    if not panels:
        return ""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = _axes(columns, rows, 9.6 if columns > 1 else 6, 2.4 * rows + 0.4)
    for axis, (name, lines) in zip(axes, panels, strict=False):
        for arm, line in lines.items():
            draw(axis, arm, line)
        axis.set_title(name, fontsize=9.5, color=INK, loc="left")
        axis.set_xlabel("update", fontsize=8.5, color=INK)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    seen = {
        label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    _legend(figure, handles=list(seen.values()), labels=list(seen), loc="outside upper right", ncols=6)
    return _svg(figure, title)


def reliability(kinds: Mapping[str, Sequence[tuple[float, float, int]]]) -> str:
    """Calibration of a model: {what it judged: (mean predicted probability, observed share, count) per bin}."""
    if not any(kinds.values()):
        return ""
    figure, (axis,) = _axes(1, 1, 4.9, 4.1)
    axis.plot([0, 1], [0, 1], color=INK, alpha=0.5, linewidth=1, linestyle="--")
    for tint, (kind, bins) in zip(cycle(KIND_COLOURS), kinds.items(), strict=False):
        most = max((count for _, _, count in bins), default=1)
        axis.plot([p for p, _, _ in bins], [o for _, o, _ in bins], color=tint, linewidth=1, alpha=0.6)
        for place, (predicted, observed, count) in enumerate(bins):  # area by count
            axis.plot(predicted, observed, "o", color=tint, alpha=0.85, markersize=3 + 9 * (count / most) ** 0.5,
                      label=None if place else _plain(kind))  # fmt: skip
    axis.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
    axis.set_xlabel("predicted probability", color=INK)
    axis.set_ylabel("observed share", color=INK)
    _legend(axis, loc="upper left")
    return _svg(figure, "reliability of the reward models")


def _points(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[tuple[float, float]]:
    """(step, value) of the first key that is there, thinned; values that are not finite are gaps left out."""
    for key in keys:
        points = [
            (float(row.get("step", place)), float(row[key]))
            for place, row in enumerate(rows)
            if isinstance(row.get(key), int | float)
            and not isnan(float(row[key]))
            and isfinite(float(row[key]))
        ]
        if points:
            stride = -(-len(points) // MAX_POINTS)
            return points[::stride]
    return []


def _percent(axis: Any) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
