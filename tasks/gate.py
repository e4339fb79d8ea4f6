"""May a candidate become champion? A pure decision with its reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.config import GateConfig


@dataclass(frozen=True)
class Decision:
    promote: bool
    reasons: list[str]


def decide(
    candidate: Mapping[str, float],
    gate: GateConfig,
    champion: Mapping[str, float] | None = None,
    comparable: bool = True,
) -> Decision:
    """Compare a candidate's metrics with the gate's floors and, where there is one, with the champion's.

    `comparable`: the champion was evaluated on the same prompts by the same judge; where not, no comparison is
    made and nothing is promoted over it (our choice: a person decides then). A missing metric fails.
    """
    reasons: list[str] = []
    ok = True
    floors = {
        "dsr": gate.min_dsr,
        "compliance.harmless": gate.min_compliance_harmless,
        "compliance.ambiguous": gate.min_compliance_ambiguous,
    }
    for name, floor in floors.items():
        value = candidate.get(name)
        passed = value is not None and value >= floor
        ok &= passed
        shown = "not measured" if value is None else f"{value:.3f}"
        reasons.append(f"{name} {shown} {'≥' if passed else 'is below'} {floor:.3f}")
    if champion is not None and not comparable:
        return Decision(False, [*reasons, "the champion was measured on other prompts or by another judge"])
    if champion is not None:
        margins = {
            "dsr": gate.dsr_margin,
            "compliance.harmless": gate.compliance_margin,
            "compliance.ambiguous": gate.compliance_margin,
        }
        for name, margin in margins.items():
            if name not in champion or name not in candidate:
                continue
            difference = candidate[name] - champion[name]
            passed = difference >= -margin
            ok &= passed
            verdict = "is within" if passed else "exceeds"
            reasons.append(f"{name} {difference:+.3f} against the champion {verdict} the margin {margin:.3f}")
    return Decision(ok, reasons)
