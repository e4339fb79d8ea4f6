"""A study as one HTML file that needs nothing else: what holds over seeds, and how far.

The seed is the unit here: rates are means over an arm's seeds with t intervals, differences are paired by seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tasks import plots
from tasks.fingerprint import library_versions
from tasks.report_html import ARM_NOTES, BEHAVIOUR, HACKING, USE
from tasks.report_input import Interval
from tasks.report_page import render, words, write_page
from tasks.report_words import HEADLINES, Finding, extent, outcome, sentence, spoken
from tasks.study_result import Estimate, Member, StudyResult

METHOD = "sear"  # the arm that the answer is about, where it was run
ATTACKED = "trade_off."  # and the attack: a figure's name
SUM = {"trade_off": "DSR + ambiguous"}


def render_study(
    result: StudyResult, figures: Mapping[str, str], lineage: Mapping[str, str] | None = None
) -> str:
    """The page as text; the same input gives the same bytes. figures: {name: SVG}, those of StudyResult."""
    arms = {arm: result.arms[arm] for arm in _order(result)}
    about = _about(result)
    found = findings(result, about) if about else []
    attacks = plots.attack_names({arm: dict.fromkeys(table, 0.0) for arm, table in arms.items()})
    return render(
        "study.html.j2",
        figures,
        result=result,
        arms=arms,
        about=about,
        headline=_headline(result, about, found),
        findings=found,
        extent=extent(found),
        seeds=sorted({member.seed for member in result.members}),
        failed=[member for member in result.members if member.status == "failed"],
        attacks=attacks,
        headlines=HEADLINES,
        sums=SUM,
        attacked={
            f"{base}.{attack}": f"{label}, {words(attack)}"
            for attack in attacks
            for base, label in (("dsr", "DSR"), ("compliance.ambiguous", "ambiguous"))
        },
        behaviour=_measured(BEHAVIOUR, result),
        use=_measured(USE, result),
        hacking=_measured(HACKING, result),
        attack_figures={
            name.removeprefix(ATTACKED): Markup(svg)  # noqa: S704 - our own SVG, labels escaped
            for name, svg in figures.items()
            if name.startswith(ATTACKED)
        },
        lineage=dict(lineage or {}),
        colours={arm: plots.colour(arm, list(arms)) for arm in {*arms, *(m.arm for m in result.members)}},
        notes=ARM_NOTES,
        interval=interval,
        outcome=outcome,
        spoken=spoken,
        member_metrics=HEADLINES,
        collapsed={name for names in result.collapsed.values() for name in names},
        run_of=_run_of,
    )


def write_study(
    result: StudyResult, figures: Mapping[str, str], path: Path, lineage: Mapping[str, str] | None = None
) -> Path:
    """Render into `path` under a temporary name, then rename. lineage: commit, data, config, versions."""
    return write_page(render_study(result, figures, lineage), path)


def lineage_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Code, data and config as a run is tagged, and the libraries' versions."""
    kept = ("git.commit", "git.dirty", "dvc.md5", "config.sha256")
    return {name: tags[name] for name in kept if name in tags} | library_versions("training", "tables")


def interval(estimate: Estimate | None) -> Interval | None:
    """(mean, low, high), NaN where one seed gives no interval."""
    if estimate is None:
        return None
    low, high = (nan if end is None else end for end in (estimate.low, estimate.high))
    return estimate.mean, low, high


def findings(result: StudyResult, arm: str) -> list[Finding]:
    """An arm's headline metrics over its seeds, against the baseline's."""
    found = []
    for name, label in HEADLINES.items():
        value, low, high = interval(result.arms.get(arm, {}).get(name)) or (nan, nan, nan)
        base = result.arms.get(result.baseline, {}).get(name)
        difference = interval(result.differences.get(arm, {}).get(name))
        found.append(Finding(
            label=label, name=name, value=value, low=low, high=high, base=nan if base is None else base.mean,
            difference=difference, outcome=outcome(difference),
        ))  # fmt: skip
    return found


def _about(result: StudyResult) -> str:
    """The candidate or the method where it was compared, else the last arm that was; "" where none was."""
    compared = [arm for arm in result.arms if result.differences.get(arm)]
    wished = (arm for arm in (result.candidate, METHOD) if arm in compared)
    return next(wished, compared[-1] if compared else "")


def _headline(result: StudyResult, about: str, found: list[Finding]) -> str:
    if not about:
        return "No arm was compared with another."
    if all(finding.outcome == "unknown" for finding in found):
        return "Too few seeds for an interval: nothing can be said of other seeds."
    return sentence(found, about, result.baseline)


def _order(result: StudyResult) -> list[str]:
    """The baseline first, the method last, the others as they came."""
    place = {METHOD: 1} | {result.baseline: -1}
    return sorted(result.arms, key=lambda arm: place.get(arm, 0))


def _measured(names: Mapping[str, str], result: StudyResult) -> dict[str, str]:
    return {name: label for name, label in names.items() if any(name in t for t in result.arms.values())}


def _run_of(member: Member) -> dict[str, Any]:
    return {
        "run": member.run_id[:8] or "–",
        "minutes": f"{member.seconds / 60:.1f}" if member.seconds else "–",
    }
