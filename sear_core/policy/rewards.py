"""The answer reward r_ans = f(y) · ( c(x, a) · s(x, a) if x is harmful, else h(x, a) ).

s = 1 - p_harm(x, a), 1 from the snap up (TARS, arXiv 2507.00971); h = σ(R(x, a) - R(x, reference refusal))
with R the helpfulness reward model, so that a plain refusal earns ½ at most; f: the format (segments.py).
c = min(1, h / coherent_from): gibberish is not harmful, but it must not pay as a safe answer does; the helpful
reader, who prefers a plain refusal to it, tells the two apart. c and taking TARS' reward over into SEAR are our
choice. Pure: scores come in, a number goes out.
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
    coherent_from: float = 0.25,
) -> float:
    """r_ans in [0, 1]; NaN where the score that the category needs is not finite (unscorable, never 0).

    p_harm in [0, 1] is read for harmful prompts; helpfulness (R, unbounded) of the answer and of the
    reference refusal for all, but not for harmful ones where coherent_from is 0. A malformed completion earns
    0 whatever its scores. Raises ValueError for an unknown category.
    """
    if category not in CATEGORIES:
        raise ValueError(f"category {category!r}, expected one of {', '.join(CATEGORIES)}")
    if not well_formed:
        return 0.0
    helpful = sigmoid(helpfulness - reference_helpfulness)
    if category != "harmful":
        return helpful
    safety = 1.0 - p_harm
    coherence = min(1.0, helpful / coherent_from) if coherent_from else 1.0
    # min() would turn NaN into 1
    coherence = math.nan if coherent_from and math.isnan(helpful) else coherence
    return coherence * (1.0 if safety >= safe_snap else safety)


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x) without overflow on either side; NaN where x is not finite."""
    if not math.isfinite(x):
        return math.nan
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))
