"""The report's figures of attacks: metrics under each, and over an attack's strength."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.plots import (
    INK,
    Metrics,
    _axes,
    _error,
    _has,
    _legend,
    _percent,
    _plain,
    _svg,
    attack_names,
    colour,
)
from tasks.report_input import AttackCurve, Interval

BASES = (("dsr", "defence success rate"), ("compliance.ambiguous", "ambiguous prompts answered"))
SWEPT_FROM = 3  # points, the direct question among them: two are no curve
CURVES = (("dsr", "defence success rate"), ("compliance", "harmless and ambiguous answered"))


def attack_bars(arms: Mapping[str, Metrics]) -> str:
    """DSR and ambiguous compliance, direct and under each attack, a bar per arm with its 95 % interval."""
    attacks = ["", *attack_names(arms)]
    figure, axes = _axes(1, 2, 7.2, 5.2)
    width = 0.8 / max(1, len(arms))
    for axis, (base, title) in zip(axes, BASES, strict=True):
        for place, (arm, metrics) in enumerate(arms.items()):
            labelled = False
            for group, attack in enumerate(attacks):
                name = f"{base}.{attack}" if attack else base
                if not _has(metrics, name):
                    continue
                axis.bar(
                    group + (place - (len(arms) - 1) / 2) * width, metrics[name], width * 0.92,
                    yerr=_error(metrics, name), color=colour(arm, list(arms)), ecolor=INK, capsize=2,
                    error_kw={"elinewidth": 0.9}, label=None if labelled else _plain(arm),
                )  # fmt: skip
                labelled = True
        axis.set_xticks(range(len(attacks)), [_plain(a.replace("_", " ")) or "direct" for a in attacks])
        axis.set_ylim(0, 1.03)
        axis.grid(False, axis="x")
        _percent(axis.yaxis)
        axis.set_title(title, fontsize=10, color=INK, loc="left")
    if axes[0].get_legend_handles_labels()[0]:
        _legend(figure, handles=axes[0].get_legend_handles_labels()[0], loc="outside right center")
    return _svg(figure, "metrics under each attack")


def attack_curves(curves: Mapping[str, Mapping[str, AttackCurve]]) -> str:
    """DSR and compliance over an attack's strength, a row per attack; "" where none was swept.

    curves: {arm: {attack: AttackCurve}}. The band is the 95 % interval; strength 0 is the direct question.
    """
    from matplotlib.ticker import MaxNLocator

    swept = list(dict.fromkeys(name for of_arm in curves.values() for name, c in of_arm.items() if _lines(c)))
    if not swept:
        return ""
    figure, axes = _axes(2, len(swept), 9.6, 2.9 * len(swept) + 0.3)
    for row, attack in enumerate(swept):
        unit = next(of_arm[attack].unit for of_arm in curves.values() if attack in of_arm)
        for axis, (name, title) in zip(axes[2 * row : 2 * row + 2], CURVES, strict=True):
            for arm, of_arm in curves.items():
                lines = _lines(of_arm[attack]) if attack in of_arm else {}
                if name not in lines:
                    continue
                xs, values = zip(*lines[name], strict=True)
                tint, (middle, low, high) = colour(arm, list(curves)), zip(*values, strict=True)
                axis.fill_between(xs, low, high, color=tint, alpha=0.14, linewidth=0)
                axis.plot(xs, middle, color=tint, linewidth=1.6, marker="o", markersize=4, label=_plain(arm))
            axis.set_ylim(-0.03, 1.03)
            _percent(axis.yaxis)
            axis.set_title(
                f"{_plain(attack.replace('_', ' '))}: {title}", fontsize=9.5, color=INK, loc="left"
            )
            axis.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
            axis.set_xlabel(f"strength ({_plain(unit)})", fontsize=8.5, color=INK)
    lines = {
        label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    _legend(figure, handles=list(lines.values()), labels=list(lines), loc="outside upper right", ncols=6)
    return _svg(figure, "metrics over the strength of an attack")


def _lines(curve: AttackCurve) -> dict[str, list[tuple[float, Interval]]]:
    """{metric: [(strength, interval)]} of those measured at enough strengths to be a curve."""
    found = {
        name: [(p.strength, value) for p in curve.points if (value := getattr(p, name)) is not None]
        for name, _ in CURVES
    }
    return {name: points for name, points in found.items() if len(points) >= SWEPT_FROM}
