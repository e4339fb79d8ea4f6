"""A run as one HTML file that needs nothing else: the answer first, then what it stands on.

Everything that comes from a model, a data set or a config is escaped by the template (autoescape), and the
page's content policy lets only its own script run, by hash, and nothing be loaded. With `show_reasoning` off
no reasoning text, and no attack text that was put into the reasoning, is in the file at all.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from math import isfinite, nan
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tasks import plots
from tasks.report_input import Frozen, GateDecision, Interval, ReportInput, Transcript

__all__ = ["GateDecision", "ReportInput", "Transcript", "render_report", "write_report"]

TEMPLATES = Path(__file__).parent / "templates"

ARM_NOTES = {
    "sft": "the warm start alone", "grpo": "control: one reward for the whole completion",
    "grpo_sum": "competing rewards in one scalar", "sear_outcome": "separate players, no process rewards",
    "sear": "the method: separate players, process rewards", "recap": "grpo with prefilled harmful reasoning",
}  # fmt: skip
MANY_MALFORMED = 0.1  # our choice: from this share on the report warns
SPOKEN = {"sft": "the warm start", "grpo": "the control (GRPO)", "sear": "SEAR"}
HEADLINES = {
    "dsr": "Safety (DSR)",
    "compliance.harmless": "Harmless answered",
    "compliance.ambiguous": "Ambiguous answered",
}
BEHAVIOUR = {
    "exploration_rate": "Explores",
    "flip_rate": "Flips back to safe",
    "end_of_thinking_rate": "Ends thinking",
    "malformed_rate": "Malformed",
    "reasoning_tokens.mean": "Reasoning tokens",
}
USE = {
    "correct.own": "own reasoning",
    "correct.none": "no reasoning",
    "correct.other": "another prompt's reasoning",
}


class Finding(Frozen):
    """One line of the answer: what was compared, and which way it came out."""

    label: str
    name: str
    value: float
    low: float
    high: float
    base: float
    difference: Interval | None
    outcome: Literal["better", "worse", "unclear", "unknown"]


def findings(report: ReportInput) -> list[Finding]:
    """The candidate's headline metrics against the baseline's."""
    found = []
    metrics, base = report.arms.get(report.candidate, {}), report.arms.get(report.baseline, {})
    for name, label in HEADLINES.items():
        difference = report.differences.get(report.candidate, {}).get(name)
        found.append(Finding(
            label=label, name=name, value=metrics.get(name, nan), low=metrics.get(f"{name}.low", nan),
            high=metrics.get(f"{name}.high", nan), base=base.get(name, nan), difference=difference,
            outcome=outcome(difference),
        ))  # fmt: skip
    return found


def outcome(difference: Interval | None) -> Literal["better", "worse", "unclear", "unknown"]:
    """Of a difference whose increase is good; unknown where there is none."""
    if difference is None or not all(map(isfinite, difference)):
        return "unknown"
    return "better" if difference[1] > 0 else "worse" if difference[2] < 0 else "unclear"


def headline(report: ReportInput) -> str:
    """The answer in one sentence: safer or not, refusing less or not."""
    by_name = {finding.name: finding.outcome for finding in findings(report)}
    safety = {
        "better": "is safer than", "worse": "is less safe than",
        "unclear": "is not clearly safer or less safe than",
        "unknown": "was not compared on safety with",
    }[by_name["dsr"]]  # fmt: skip
    refusal = {
        "better": "refuses fewer ambiguous prompts", "worse": "refuses more ambiguous prompts",
        "unclear": "does not clearly refuse more or fewer ambiguous prompts",
        "unknown": "was not compared on over-refusal",
    }[by_name["compliance.ambiguous"]]  # fmt: skip
    joint = "and" if by_name["dsr"] == by_name["compliance.ambiguous"] else "but"
    candidate, baseline = spoken(report.candidate), spoken(report.baseline)
    return f"{candidate[:1].upper()}{candidate[1:]} {safety} {baseline}, {joint} {refusal}."


def spoken(arm: str) -> str:
    """How a sentence names an arm."""
    return SPOKEN.get(arm, arm)


def reasoning_use(metrics: Mapping[str, float], arm: str) -> str:
    """What correctness with own and with no reasoning says. Our rule: the intervals must not touch."""
    own_low, none_high = metrics.get("correct.own.low", nan), metrics.get("correct.none.high", nan)
    if not (isfinite(own_low) and isfinite(none_high)):
        return ""
    arm = arm[:1].upper() + arm[1:]
    if own_low > none_high:
        return f"{arm} answers better with its own reasoning than with none: the reasoning is used."
    return (
        f"{arm} does not clearly answer better with its own reasoning than with none, so its robustness "
        f"may not be claimed as an effect of exploring."
    )


def cautions(report: ReportInput) -> list[str]:
    """What keeps the answer from being read as it stands."""
    found = []
    for arm in (report.candidate, report.control, report.baseline):
        malformed = report.arms.get(arm, {}).get("malformed_rate", nan)
        if malformed > MANY_MALFORMED:
            who = spoken(arm)
            found.append(
                f"{who[:1].upper()}{who[1:]}: {share(malformed)} % of its completions are malformed or "
                f"incoherent; they count as neither safe nor answered."
            )
    return found


def _ordered(report: ReportInput) -> dict[str, dict[str, float]]:
    """The arms, baseline first and candidate last, the others between them as they came."""
    place = {report.baseline: -1, report.candidate: 1}
    return {arm: report.arms[arm] for arm in sorted(report.arms, key=lambda arm: place.get(arm, 0))}


def rest(report: ReportInput) -> list[str]:
    """Names of the metrics that no other table shows, sorted."""
    attacks = plots.attack_names(report.arms)
    shown = {*HEADLINES, *BEHAVIOUR, *USE}
    shown |= {f"{base}.{attack}" for base in ("dsr", "compliance.ambiguous") for attack in attacks}
    names = {
        key for metrics in report.arms.values() for key in metrics if not key.endswith((".low", ".high"))
    }
    return sorted(names - shown)


def plots_of(report: ReportInput) -> dict[str, str]:
    """{name: SVG}, "" where there is nothing to draw."""
    return {
        "trade_off": plots.trade_off(report.arms),
        "attacks": plots.attack_bars(report.arms) if plots.attack_names(report.arms) else "",
        "training": plots.training_curves(report.histories),
        "reliability": plots.reliability(report.reliability),
    }


def render_report(report: ReportInput) -> str:
    """The whole page as text; the same input gives the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(cell=cell, number=number, points=points, share=share)
    report = report.model_copy(update={"arms": _ordered(report)})
    script = (TEMPLATES / "report.js").read_text()
    transcripts = [
        t if report.show_reasoning else t.model_copy(update={"reasoning": "", "prefill": ""})
        for t in report.transcripts
    ]
    figures = plots_of(report)
    return environment.get_template("report.html.j2").render(
        report=report,
        transcripts=transcripts,
        headline=headline(report),
        findings=findings(report),
        cautions=cautions(report),
        attacks=plots.attack_names(report.arms),
        headlines=HEADLINES,
        behaviour={k: v for k, v in BEHAVIOUR.items() if any(k in m for m in report.arms.values())},
        use=USE if any("correct.own" in metrics for metrics in report.arms.values()) else {},
        use_notes=[
            note
            for arm in (report.candidate, report.control)
            if arm in report.arms and (note := reasoning_use(report.arms[arm], spoken(arm)))
        ],
        rest=rest(report),
        colours={arm: plots.colour(arm, list(report.arms)) for arm in report.arms},
        notes=ARM_NOTES,
        outcome=outcome,
        spoken=spoken,
        data=flat({k: v for k, v in report.data.items() if not _is_table(v)}),
        tables={k: v for k, v in report.data.items() if _is_table(v)},
        figures={name: Markup(svg) for name, svg in figures.items()},  # noqa: S704 - our own SVG, labels escaped
        style=Markup((TEMPLATES / "report.css").read_text()),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def write_report(report: ReportInput, path: Path) -> Path:
    """Render into `path` under a temporary name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(render_report(report), encoding="utf-8")
    return temporary.rename(path)


def share(value: float | None) -> str:
    """A rate in per cent, one decimal; a dash where it could not be measured."""
    return f"{100 * value:.1f}" if value is not None and isfinite(value) else "–"


def points(value: float | None) -> str:
    """A difference of rates in percentage points, signed."""
    return f"{100 * value:+.1f}".replace("-", "−") if value is not None and isfinite(value) else "–"


def number(value: Any) -> str:
    """Any value for a table: floats with four significant digits, whole numbers grouped by thin spaces."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if not isfinite(value):
        return "–"
    return f"{int(value):,}".replace(",", "\u202f") if float(value).is_integer() else f"{value:.4g}"


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def cell(value: Any) -> str:
    """A table's cell: as `number`, long hashes cut."""
    text = number(value)
    return f"{text[:12]}…" if re.fullmatch(r"[0-9a-f]{32,}(\.dir)?", text) else text


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'a.b': value} of nested dicts; lists are joined."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found.update(flat(item, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = ", ".join(map(str, item)) if isinstance(item, list | tuple) else item
    return found
