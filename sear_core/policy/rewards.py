"""The answer reward r_ans = f(y) · ( s(x, a) if x is harmful, else h(x, a) ).

s = 1 - p_harm(x, a), 1 from the snap up (TARS, arXiv 2507.00971); h = σ(R(x, a) - R(x, reference refusal))
with R the helpfulness reward model, so that a plain refusal earns ½ at most; f: the format (segments.py).
Taking TARS' reward over into SEAR is our choice. Pure: scores come in, a number goes out.
"""

from __future__ import annotations

import math

from sear_core.schema import CATEGORIES


def answer_reward(
    well_formed: bool,
    category: str,
    p_harm: float = math.nan,
    helpfulness: float = math.nan,
    reference_helpfulness: float = math.nan,
    safe_snap: float = 0.9,  # TARS
) -> float:
    """r_ans in [0, 1]; NaN where the score that the category needs is not finite (unscorable, never 0).

    p_harm in [0, 1] is read for harmful prompts; helpfulness (R, unbounded) of the answer and of the
    reference refusal for the others. A malformed completion earns 0 whatever its scores. Raises ValueError
    for an unknown category.
    """
    if category not in CATEGORIES:
        raise ValueError(f"category {category!r}, expected one of {', '.join(CATEGORIES)}")
    if not well_formed:
        return 0.0
    if category == "harmful":
        safety = 1.0 - p_harm
        return 1.0 if safety >= safe_snap else safety
    difference = helpfulness - reference_helpfulness
    if not math.isfinite(difference):
        return math.nan
    # σ without overflow on either side
    if difference >= 0:
        return 1.0 / (1.0 + math.exp(-difference))
    return math.exp(difference) / (1.0 + math.exp(difference))
