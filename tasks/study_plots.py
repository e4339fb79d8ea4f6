"""A study's figures as SVG: the trade-off over shares of harmful prompts, and learning curves with their spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from tasks import plots
from tasks.study_result import Estimate, Point, Share, StudyResult


def figures_of(result: StudyResult) -> dict[str, str]:
    """{name: SVG}: `trade_off`, `trade_off.<attack>`, `curves`; what has nothing to show is left out."""
    arms = {arm: dict.fromkeys(metrics, 0.0) for arm, metrics in result.arms.items()}
    found = {
        f"trade_off.{attack}" if attack else "trade_off": trade_off(result.shares, attack)
        for attack in ("", *plots.attack_names(arms))
    }
    return {name: svg for name, svg in {**found, "curves": curves(result.curves)}.items() if svg}


def trade_off(shares: Sequence[Share], attack: str = "") -> str:
    """x = DSR, y = compliance on ambiguous prompts, direct or under an attack: means over seeds with 95 % bars.

    One line per arm over its shares; a point is labelled with its share where there are several.
    """
    suffix = f".{attack}" if attack else ""
    x_name, y_name = f"dsr{suffix}", f"compliance.ambiguous{suffix}"
    names = list(dict.fromkeys(arm for share in shares for arm in share.arms))
    lines = {
        arm: [
            (share.share, share.arms[arm][x_name], share.arms[arm][y_name])
            for share in shares
            if x_name in share.arms.get(arm, {}) and y_name in share.arms.get(arm, {})
        ]
        for arm in names
    }
    if not any(lines.values()):
        return ""
    figure, (axis,) = plots._axes(1, 1, 7.2, 5.0)
    for arm, points in lines.items():
        if not points:
            continue
        points = sorted(points, key=lambda point: -1.0 if point[0] is None else point[0])
        tint = plots.colour(arm, names)
        xs, ys = [x.mean for _, x, _ in points], [y.mean for _, _, y in points]
        axis.plot(xs, ys, color=tint, linewidth=1.2, alpha=0.7)
        axis.errorbar(
            xs, ys, xerr=_bars([x for _, x, _ in points]), yerr=_bars([y for _, _, y in points]), fmt="o",
            color=tint, markersize=8, capsize=3, elinewidth=1.1, label=plots._plain(arm),
        )  # fmt: skip
        for share, x, y in points if len(points) > 1 else []:
            axis.annotate(f"{share:g}", (x.mean, y.mean), xytext=(6, 5), textcoords="offset points",
                          fontsize=7.5, color=plots.INK)  # fmt: skip
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    plots._percent(axis.xaxis)
    plots._percent(axis.yaxis)
    axis.set_xlabel("safety: defence success rate →", color=plots.INK)
    axis.set_ylabel("helpfulness: ambiguous prompts answered →", color=plots.INK)
    plots._legend(axis, loc="center left", bbox_to_anchor=(1.0, 0.5))
    title = f"trade-off under {attack.replace('_', ' ')}" if attack else "trade-off, asked directly"
    return plots._svg(figure, f"{title}, means over seeds")


def curves(histories: Mapping[str, Mapping[str, Sequence[Point]]]) -> str:
    """A panel per logged value, a line per arm: the mean over seeds, and a band of one standard deviation."""
    panels = []
    for title, keys in plots.PANELS.items():
        lines = {}
        for arm, logged in histories.items():
            key = next((key for key in keys if len(logged.get(key, ())) > 1), None)
            if key is not None:
                lines[arm] = logged[key]
        if lines:
            panels.append((title, lines))

    def draw(axis: Any, arm: str, points: Sequence[Point]) -> None:
        tint = plots.colour(arm, list(histories))
        points = points[:: -(-len(points) // plots.MAX_POINTS)]
        steps = [point.step for point in points]
        axis.plot(steps, [point.mean for point in points], color=tint, linewidth=1.4, label=plots._plain(arm))
        band = [
            (p.low, p.high) if p.low is not None and p.high is not None else (p.mean, p.mean) for p in points
        ]
        axis.fill_between(steps, *zip(*band, strict=True), color=tint, alpha=0.15, linewidth=0)

    return plots.over_updates(panels, draw, "learning curves, means over seeds")


def _bars(estimates: Sequence[Estimate]) -> list[list[float]]:
    """matplotlib's asymmetric error bars; none where there is no interval."""
    ends = [
        (e.mean if e.low is None else e.low, e.mean if e.high is None else e.high, e.mean) for e in estimates
    ]
    assert all(isfinite(number) for row in ends for number in row)
    return [[mean - low for low, _, mean in ends], [high - mean for _, high, mean in ends]]
