"""Do the probabilities mean what they say? Expected calibration error, reliability bins, temperature.

Plain numpy. A label is 0/1, or a share in [0, 1]. Temperature scaling as in Guo et al., arXiv 1706.04599:
p = σ(logit / T), with the one T > 0 that minimises the cross-entropy on held-out rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.metrics import roc_auc_score

Numbers = Sequence[float] | np.ndarray
TEMPERATURES = (0.05, 20.0)  # the range that is searched [our choice]


def sigmoid(logits: Numbers) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    x = np.asarray(logits, dtype=np.float64)
    return np.exp(-np.logaddexp(0.0, -x))


def fit_temperature(logits: Numbers, labels: Numbers) -> float:
    """The T that minimises the mean cross-entropy of σ(logit / T) against the labels; 1.0 for no rows."""
    x, y = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if not len(x):
        return 1.0

    def cross_entropy(log_temperature: float) -> float:
        z = x / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0.0, z) - y * z))

    low, high = np.log(TEMPERATURES[0]), np.log(TEMPERATURES[1])
    return float(np.exp(minimize_scalar(cross_entropy, bounds=(low, high), method="bounded").x))


def reliability(probabilities: Numbers, labels: Numbers, bins: int = 10) -> list[dict[str, float]]:
    """Equal-width bins over [0, 1]: low, high, count, mean probability, mean label; empty ones left out."""
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    index = np.minimum((p * bins).astype(int), bins - 1)
    table = []
    for b in range(bins):
        inside = index == b
        if inside.any():
            table.append({
                "low": b / bins, "high": (b + 1) / bins, "count": float(inside.sum()),
                "probability": float(p[inside].mean()), "label": float(y[inside].mean()),
            })  # fmt: skip
    return table


def expected_calibration_error(probabilities: Numbers, labels: Numbers, bins: int = 10) -> float:
    """Σ_b (n_b / n) · |mean label − mean probability| over the bins; NaN for no rows."""
    table = reliability(probabilities, labels, bins)
    total = sum(row["count"] for row in table)
    if not total:
        return float("nan")
    return sum(row["count"] / total * abs(row["label"] - row["probability"]) for row in table)


def brier(probabilities: Numbers, labels: Numbers) -> float:
    """Mean squared difference of probability and label; NaN for no rows."""
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    return float(np.mean((p - y) ** 2)) if len(p) else float("nan")


def auroc(scores: Numbers, labels: Numbers) -> float:
    """Area under the ROC curve, labels above 0.5 being positive; NaN where one class is missing."""
    positive = np.asarray(labels, dtype=np.float64) > 0.5
    if not len(positive) or positive.all() or not positive.any():
        return float("nan")
    return float(roc_auc_score(positive, np.asarray(scores, dtype=np.float64)))
