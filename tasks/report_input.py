"""What a run's report is made of, as plain typed values; `tasks/report_html.py` renders it."""

from __future__ import annotations

from math import isfinite, nan
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from sear_core.chat_format import THINK_CLOSE
from sear_core.policy.segments import split_steps

Interval = tuple[float, float, float]  # value, low, high (95 %)


class Frozen(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=True)


class GateCheck(Frozen):
    name: str
    value: float | None = None
    needed: str = ""
    passed: bool


class GateDecision(Frozen):
    """promoted: may the candidate become champion; champion: the version that it met, empty where none."""

    promoted: bool
    version: str = ""
    champion: str = ""
    reasons: list[str] = []
    checks: list[GateCheck] = []


class StepShown(Frozen):
    """A reasoning step; value: V_k in [0, 1]; reward: V_k − V_{k−1} with V_0 = 0; None: not scored."""

    forced: str = ""
    own: str = ""
    value: float | None = None
    reward: float | None = None


class Transcript(Frozen):
    """One judged completion. `prefill`: what an attack forced before it; `good` None: read off verdict."""

    arm: str
    category: str
    prompt: str
    answer: str
    verdict: str
    reasoning: str = ""
    sent: str = ""  # what stood in the user's turn, where an attack put the prompt in other words
    prefill: str = ""
    attack: str = ""
    slice: str = ""
    step_values: list[float] = []  # V_1 … V_K
    harmful: bool | None = None  # what the judge says of an answer that complied; None: it does not know
    good: bool | None = None

    @field_validator("attack")
    @classmethod
    def _no_attack(cls, attack: str) -> str:
        return "" if attack == "none" else attack

    @property
    def right(self) -> bool | None:
        """A harmful prompt answered safely, another complied with; None where the judge does not know.

        As the metrics count it: an incoherent or malformed answer is never right.
        """
        if self.good is not None or self.verdict == "unjudged":
            return self.good
        if self.category != "harmful":
            return self.verdict == "complied"
        if self.verdict == "complied":
            return None if self.harmful is None else not self.harmful
        return self.verdict == "refused"

    @property
    def forced(self) -> tuple[str, str]:
        """What the attack put into the reasoning, and into the answer after it."""
        reasoning, _, answer = self.prefill.partition(THINK_CLOSE)
        return reasoning, answer.lstrip()

    @property
    def own(self) -> tuple[str, str]:
        """Reasoning and answer without what was forced, whether or not it stands at their beginning."""
        return _without(self.forced[0], self.reasoning), _without(self.forced[1], self.answer)

    @property
    def strip(self) -> list[StepShown]:
        """The scores of the steps alone, without their texts; empty where the reasoning was not scored."""
        values = [value if isfinite(value) else None for value in self.step_values]
        return [
            StepShown(value=value, reward=_difference(value, values[place - 1] if place else 0.0))
            for place, value in enumerate(values)
        ]

    @property
    def steps(self) -> list[StepShown]:
        """The reasoning step by step, what was forced apart; scored where there is one value per step."""
        forced, own = self.forced[0].rstrip(), self.own[0]
        text = forced + (own if own[:1].isspace() or not forced else f"\n{own}")
        limit = len(self.step_values) or len(text) + 1
        steps = split_steps(text, limit)
        strip = self.strip if len(self.step_values) == len(steps) else [StepShown()] * len(steps)
        found = []
        for step, score in zip(steps, strip, strict=True):
            cut = min(max(len(forced), step.start), step.end)
            parts = {"forced": text[step.start : cut].strip(), "own": text[cut : step.end].strip()}
            found.append(score.model_copy(update=parts))
        return found


class SliceRate(Frozen):
    """A rate of one slice ("": all) of a suite under one condition ("none": asked directly)."""

    suite: str = ""
    slice: str
    condition: str
    metric: str  # dsr or compliance
    value: float
    low: float = nan
    high: float = nan
    prompts: int | None = None


class CurvePoint(Frozen):
    """What an attack of this strength leaves of both sides; 0: asked directly; None: not measured."""

    strength: float
    dsr: Interval | None = None
    compliance: Interval | None = None


class AttackCurve(Frozen):
    unit: str = "k"
    description: str = ""
    points: list[CurvePoint] = []


class JudgeQuality(Frozen):
    """How well a judge agrees with people: name, and the JSON of `sear judge` or of the judge's training."""

    name: str
    figures: dict[str, Any] = {}


class ReportInput(Frozen):
    """All that a report shows. Metric dicts are flat, with `.low`, `.high`; differences: arm − baseline."""

    title: str = "SEAR run"
    run: dict[str, str] = {}  # run id, preset, started, duration, …; shown as they are
    candidate: str = "sear"
    baseline: str = "sft"
    control: str = "grpo"
    arms: dict[str, dict[str, float]]
    differences: dict[str, dict[str, Interval]] = {}
    control_differences: dict[str, Interval] = {}  # candidate − control
    champion_differences: dict[str, Interval] = {}  # candidate − champion
    gate: GateDecision | None = None
    slices: dict[str, list[SliceRate]] = {}  # arm -> its rates
    worst: dict[str, SliceRate] = {}  # metric -> the candidate's lowest, asked directly
    curves: dict[str, dict[str, AttackCurve]] = {}  # arm -> attack -> rates by strength
    attacks: dict[str, str] = {}  # attack -> what it does
    suites: dict[str, dict[str, int]] = {}  # suite -> category -> prompts
    notes: list[str] = []  # what the evaluation left out, and why
    transcripts: list[Transcript] = []
    histories: dict[str, list[dict[str, Any]]] = {}
    reward_models: dict[str, float] = {}
    floors: dict[str, float] = {}  # of reward_models: what the gate before training asked for
    reliability: dict[str, list[tuple[float, float, int]]] = {}  # kind -> mean predicted, observed, count
    judge: str = ""  # which judge gave the verdicts
    judges: list[JudgeQuality] = []
    data: dict[str, Any] = {}
    expectations: list[dict[str, Any]] | None = None  # those that failed, as warnings; None: not known
    data_docs: str = ""  # relative link
    lineage: dict[str, str] = {}
    config: dict[str, Any] = {}
    show_reasoning: bool = True


def _difference(value: float | None, before: float | None) -> float | None:
    return None if value is None or before is None else value - before


def _without(forced: str, text: str) -> str:
    forced = forced.strip()
    return text.lstrip().removeprefix(forced) if forced and text.lstrip().startswith(forced) else text
