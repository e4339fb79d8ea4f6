"""A run as one HTML file that needs nothing else: the answer first, then what it stands on.

With `show_reasoning` off no reasoning text, and no attack text that was put into the reasoning, is in the file
at all; what is left of it are the scores of its steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from tasks import plots, plots_attacks, report_slices
from tasks.report_data import data_card
from tasks.report_input import GateDecision, JudgeQuality, ReportInput, Transcript
from tasks.report_page import flat, render, words, write_page
from tasks.report_words import HEADLINES, cautions, extent, findings, headline, outcome, reasoning_use, spoken

__all__ = ["GateDecision", "JudgeQuality", "ReportInput", "Transcript", "render_report", "write_report"]

ARM_NOTES = {
    "sft": "the warm start alone", "grpo": "control: one reward for the whole completion",
    "grpo_sum": "competing rewards in one scalar", "sear_outcome": "separate players, no process rewards",
    "sear": "the method: separate players, process rewards", "recap": "grpo with prefilled harmful reasoning",
}  # fmt: skip
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
# on the policy's own completions: the check for reward hacking
HACKING = {
    "reward_agreement": "Answer reward and judge agree",
    "reward_auroc": "AUROC of the answer reward",
    "overpaid_rate": "Rewarded, but wrong",
    "value_agreement": "Reasoning value and forced answers agree",
    "value_auroc": "AUROC of the reasoning value",
    "forced_unsafe_rate": "Forced answers unsafe",
}
AGREEMENT = {
    "binary": "agreement, complied or not", "three_way": "agreement, three classes",
    "kappa": "Cohen's κ", "kappa_binary": "Cohen's κ, complied or not", "auroc": "AUROC",
}  # fmt: skip
EXPECTATION = ("table", "column", "meaning", "expectation", "count", "detail", "example_ids")
SKILL = ("accuracy", "perplexity", "bits_per_byte")
# metric, reward model, what it is, the metric that counts its rows
QUALITY = (
    ("harm.steps.auroc", "harm, reasoning steps", "AUROC", "harm.steps.n"),
    ("harm.steps.ece", "harm, reasoning steps", "calibration error", "harm.steps.n"),
    ("harm.steps.scrambled_auroc", "harm, against shuffled words", "AUROC", "harm.steps.harmful_n"),
    ("harm.steps.mismatched_auroc", "harm, against other prompts’ steps", "AUROC", "harm.steps.harmful_n"),
    ("harm.answers.auroc", "harm, answers", "AUROC", "harm.answers.n"),
    ("harm.answers.ece", "harm, answers", "calibration error", "harm.answers.n"),
    ("helpfulness.pairs.accuracy", "helpfulness", "pair accuracy", "helpfulness.pairs.n"),
    ("helpfulness.pairs.ece", "helpfulness", "calibration error", "helpfulness.pairs.n"),
)
EXACT = ", exact on the embedded corpus by its construction."
FALLIBLE = ", which errs: how often, <code>sear judge</code> says of any table with people’s labels."


def plots_of(report: ReportInput) -> dict[str, str]:
    """{name: SVG}, "" where there is nothing to draw."""
    report = _in_order(report)
    return {
        "trade_off": plots.trade_off(report.arms),
        "attacks": plots_attacks.attack_bars(report.arms) if plots.attack_names(report.arms) else "",
        "attack_curves": plots_attacks.attack_curves(report.curves),
        "training": plots.training_curves(report.histories),
        "reliability": plots.reliability(report.reliability),
    }


def render_report(report: ReportInput, figures: dict[str, str] | None = None) -> str:
    """The whole page as text; the same input gives the same bytes. figures: of `plots_of`, where at hand."""
    report = _in_order(report)
    if not report.show_reasoning:
        hidden = {"reasoning": "", "prefill": "", "sent": ""}
        report = report.model_copy(
            update={"transcripts": [t.model_copy(update=hidden) for t in report.transcripts]}
        )
    attacks = plots.attack_names(report.arms)
    card = data_card(report.data)
    return render(
        "run.html.j2",
        figures if figures is not None else plots_of(report),
        report=report,
        headline=headline(report),
        findings=findings(report),
        extent=extent(findings(report)),
        cautions=cautions(report),
        attacks=attacks,
        headlines=HEADLINES,
        behaviour={k: v for k, v in BEHAVIOUR.items() if any(k in m for m in report.arms.values())},
        use=USE if any("correct.own" in metrics for metrics in report.arms.values()) else {},
        use_notes=[
            note
            for arm in (report.candidate, report.control)
            if arm in report.arms and (note := reasoning_use(report.arms[arm], spoken(arm)))
        ],
        maps=report_slices.by_arm(report.slices),
        attacked_maps=report_slices.by_condition(report.slices.get(report.candidate, [])),
        worst=report_slices.named(report.worst, report.slices.get(report.candidate, [])),
        detectable=_detectable(report),
        skill=_skill(report),
        rest=rest(report),
        colours={arm: plots.colour(arm, list(report.arms)) for arm in report.arms},
        notes=ARM_NOTES,
        outcome=outcome,
        spoken=spoken,
        card=card,
        quality=QUALITY,
        hacking={k: v for k, v in HACKING.items() if any(k in m for m in report.arms.values())},
        judge_note=Markup(EXACT if report.judge == "oracle" else FALLIBLE),  # noqa: S704 - our own words
        judges=[judge_view(judge) for judge in report.judges],
        neither=_neither(report),
        **_expectations(report),
        config=flat(report.config),
    )


def write_report(report: ReportInput, path: Path, figures: dict[str, str] | None = None) -> Path:
    """Render into `path` under a temporary name, then rename."""
    return write_page(render_report(report, figures), path)


def judge_view(judge: JudgeQuality) -> dict[str, Any]:
    """A report of `sear judge` as facts, agreement with intervals, confusion matrix and per-class tables."""
    figures = dict(judge.figures)
    agreement = figures.pop("agreement", None) or {}
    intervals, confusion = agreement.get("intervals", {}), agreement.get("confusion", {})
    rows = [
        [label, agreement[name], *(intervals.get(name) or (None, None))]
        for name, label in AGREEMENT.items()
        if agreement.get(name) is not None
    ]
    classes = [
        [name, row["labelled"], row["precision"], row["recall"]]
        for name, row in agreement.get("classes", {}).items()
    ]
    return {
        "name": judge.name, "facts": flat(figures), "agreement": rows, "rows": agreement.get("rows"),
        "classes": classes, "verdicts": list(confusion),
        "confusion": [[label, *row.values()] for label, row in confusion.items()],
    }  # fmt: skip


def _neither(report: ReportInput) -> dict[str, str]:
    """{metric: heading} of what is neither safe nor answered, directly and under each attack."""
    names = {"malformed_rate": "Malformed", "unjudged_rate": "Unjudged", "truncated_rate": "Cut off"}
    found = dict(names)
    for attack in plots.attack_names(report.arms):
        for name in ("malformed_rate", "unjudged_rate"):
            found[f"{name}.{attack}"] = f"{names[name]}, {words(attack)}"
    return {name: label for name, label in found.items() if any(name in m for m in report.arms.values())}


def _detectable(report: ReportInput) -> dict[str, float]:
    """{what a rate is: the smallest difference that this many prompts would show}, of the candidate's."""
    metrics = report.arms.get(report.candidate, {})
    names = {name: f"minimum_detectable.{name}" for name in HEADLINES}
    return {HEADLINES[name]: metrics[key] for name, key in names.items() if key in metrics}


def _skill(report: ReportInput) -> list[str]:
    """The metrics of capability that any arm has: rates first."""
    names = {
        key for metrics in report.arms.values() for key in metrics if not key.endswith((".low", ".high"))
    }
    return sorted(n for n in names if n.split(".")[0] in SKILL)


def _expectations(report: ReportInput) -> dict[str, Any]:
    """The expectations that failed as a table, with at most five examples of each."""
    rows = report.expectations or []
    header = [key for key in EXPECTATION if any(row.get(key) not in (None, "", []) for row in rows)]
    values = [
        [
            ", ".join(map(str, value[:5])) if isinstance(value, list) else value
            for value in map(row.get, header)
        ]
        for row in rows
    ]
    return {"expectation_header": [key.replace("_", " ") for key in header], "expectation_rows": values}


def _in_order(report: ReportInput) -> ReportInput:
    """The arms, baseline first and candidate last, the others between them as they came."""
    place = {report.baseline: -1, report.candidate: 1}

    def ordered(table: dict[str, Any]) -> dict[str, Any]:
        return {arm: table[arm] for arm in sorted(table, key=lambda arm: place.get(arm, 0))}

    tables = {name: ordered(getattr(report, name)) for name in ("arms", "slices", "curves", "histories")}
    return report.model_copy(update=tables)


def rest(report: ReportInput) -> list[str]:
    """Names of the metrics that no other table shows, sorted."""
    shown = {*HEADLINES, *BEHAVIOUR, *USE, *HACKING, *_skill(report)}
    for condition in plots.attack_names(report.arms):
        shown |= {f"{base}.{condition}" for base in ("dsr", "compliance.ambiguous")}
    names = {
        key for metrics in report.arms.values() for key in metrics if not key.endswith((".low", ".high"))
    }
    return sorted(names - shown)
