"""What a study found, as plain typed values: `study.json`, and what the page and the plots are made of.

A member is one arm with one seed at one share of harmful prompts. The seed is the unit: estimates are means over
an arm's seeds with 95 % t intervals, differences are paired by seed. NaN never appears: an interval that does
not exist (one seed) is None. Metric names are the evaluation's, and two of ours, computed for each member:

    trade_off   dsr + compliance.ambiguous
    collapsed   1 where any of dsr, compliance.harmless, compliance.ambiguous is below .50, else 0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sear_core.evaluation.seeds import (
    curves_over_seeds,
    paired_differences,
    summarise_seeds,
    with_derived,
)


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Estimate(_Frozen):
    """A mean over `n` seeds, its 95 % t interval, and the standard deviation over seeds (the spread)."""

    mean: float
    low: float | None = None
    high: float | None = None
    n: int
    sd: float | None = None


Estimates = dict[str, dict[str, Estimate]]  # arm -> metric -> estimate


class Member(_Frozen):
    """`share`: of harmful RL prompts, None as they come; `error`: why it failed; `run_id`: of its evaluation."""

    name: str  # such as "sear, seed 3, share 0.25"
    arm: str
    seed: int
    share: float | None = None
    status: Literal["finished", "failed"]
    error: str = ""
    run_id: str = ""
    seconds: float | None = None  # that its policy and evaluation took when they were computed
    metrics: dict[str, float] = {}  # flat, with .low and .high over prompts


class Share(_Frozen):
    """All arms that were run at one share."""

    share: float | None
    arms: Estimates
    differences: Estimates  # arm − baseline, over the seeds that both have; the baseline itself is left out


class Point(_Frozen):
    """One logged value at one update, over the seeds that logged it; low and high are mean ± sd."""

    step: int
    mean: float
    low: float | None = None
    high: float | None = None
    n: int


class StudyResult(_Frozen):
    """`study.json`. `arms` and `differences` are those of the first share; `shares` has every one."""

    schema_version: Literal[1] = 1
    baseline: str
    members: list[Member]
    arms: Estimates
    differences: Estimates
    shares: list[Share]
    candidate: str = ""  # the arm that each other one is held against, too
    against: Estimates = {}  # other arm -> candidate − it, paired by seed, at the first share
    collapsed: dict[str, list[str]] = {}  # arm -> names of its collapsed members
    curves: dict[str, dict[str, list[Point]]] = {}  # arm -> logged key (as in history.json) -> points
    figures: list[str] = []  # files in plots/: trade_off, trade_off.<attack>, curves; .svg

    def flat(self) -> dict[str, float]:
        """`<arm>.<metric>` and `difference.<arm>.<metric>` at the first share, with `.low` and `.high`."""
        found: dict[str, float] = {}
        for prefix, table in (("", self.arms), ("difference.", self.differences)):
            for arm, metrics in table.items():
                for name, estimate in metrics.items():
                    ends = {"": estimate.mean, ".low": estimate.low, ".high": estimate.high}
                    found |= {f"{prefix}{arm}.{name}{end}": v for end, v in ends.items() if v is not None}
        return found


def study_result(
    members: Sequence[Mapping[str, Any]],
    histories: Mapping[str, list[dict]],
    baseline: str,
    shares: Sequence[float | None],
    candidate: str = "",
) -> StudyResult:
    """Average finished members over seeds, share by share; `histories`: member name -> its training history.

    An arm that does not depend on the share (the warm start, run at the first one alone) is shown at that alone.
    """
    values: dict[tuple[float | None, str], dict[int, dict[str, float]]] = {}
    logged: dict[str, dict[int, list[dict]]] = {}
    collapsed: dict[str, list[str]] = {}
    for member in members:
        if member["status"] != "finished":
            continue
        derived = with_derived(member["metrics"])
        values.setdefault((member["share"], member["arm"]), {})[member["seed"]] = derived
        if derived.get("collapsed"):
            collapsed.setdefault(member["arm"], []).append(member["name"])
        if member["share"] == shares[0] and member["name"] in histories:
            logged.setdefault(member["arm"], {})[member["seed"]] = histories[member["name"]]
    tables = [_share(share, values, baseline) for share in shares]
    main = {arm: by_seed for (of, arm), by_seed in values.items() if of == shares[0]}
    others = [arm for arm in main if arm != candidate] if candidate in main else []
    return StudyResult.model_validate({
        "baseline": baseline, "members": members, "arms": tables[0]["arms"],
        "differences": tables[0]["differences"], "shares": tables, "collapsed": collapsed,
        "candidate": candidate, "against": {arm: paired_differences(main[candidate], main[arm]) for arm in others},
        "curves": {arm: curves_over_seeds(by_seed) for arm, by_seed in logged.items()},
    })  # fmt: skip


def _share(
    share: float | None, values: Mapping[tuple[float | None, str], Mapping[int, dict]], baseline: str
) -> dict[str, Any]:
    arms = {arm: by_seed for (of, arm), by_seed in values.items() if of == share}
    return {
        "share": share,
        "arms": {arm: summarise_seeds(by_seed) for arm, by_seed in arms.items()},
        "differences": {
            arm: paired_differences(by_seed, arms[baseline])
            for arm, by_seed in arms.items()
            if arm != baseline and baseline in arms
        },
    }
