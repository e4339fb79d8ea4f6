"""Intervals: 95 % of a rate, of a mean, of a difference between two models on the same prompts. Pure.

    one sample per prompt       Wilson's score interval (Wilson 1927)
    several samples per prompt  a bootstrap clustered on prompts, bias-corrected and accelerated (BCa: Efron 1987)
    a paired difference         the percentile bootstrap over prompts (Efron 1979)

The prompt is the unit: samples of one prompt are averaged first, so that an interval does not shrink by asking
the same thing again. Resampling n values is drawing how often each distinct one comes up, a multinomial, so
that no (resamples x n) table is needed. Coverage is simulated in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import stats

RESAMPLES = 2_000
POWER = 0.8  # of a minimum detectable difference; our choice, the usual one


def wilson(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate (Wilson 1927). successes may be fractional (averaged samples).

    Raises ValueError where n < 1 or successes lie outside of [0, n].
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"successes {successes} of {n}; expected 0 <= successes <= n, n >= 1")
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # exact at the ends, where rounding would leave the rate outside of its own interval
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and its t-interval; the interval is NaN for fewer than two values. Raises ValueError for none."""
    if not len(values):
        raise ValueError("the mean of no values")
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return mean, math.nan, math.nan
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return mean, mean - half, mean + half


def rate_interval(
    prompts: Iterable[Sequence[float]], confidence: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """(rate, low, high) of outcomes in [0, 1], a sequence of samples per prompt.

    With one sample each: Wilson. With several: the clustered bootstrap; where all prompts' means are equal, so
    that resampling shows nothing, Wilson with as many trials as prompts. Raises ValueError for no prompt.
    """
    groups = [list(group) for group in prompts]
    if not groups:
        raise ValueError("the rate of no prompts")
    means = np.array([sum(group) / len(group) for group in groups])
    n, rate = len(means), float(means.mean())
    if all(len(group) == 1 for group in groups) or np.ptp(means) == 0:
        # a mean of samples can lie a rounding error outside of [0, n]
        successes = min(max(float(means.sum()), 0.0), float(n))
        return successes / n, *wilson(successes, n, confidence)
    return rate, *_bca(means, confidence, seed)


def _bca(values: np.ndarray, confidence: float, seed: int) -> tuple[float, float]:
    """The BCa interval of the mean (Efron 1987, §3-4); values that differ."""
    draws = _resampled_means(values, RESAMPLES, seed)
    mean = values.mean()
    below = (np.mean(draws < mean) + np.mean(draws <= mean)) / 2  # ties count half
    bias = stats.norm.ppf(np.clip(below, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    centred = values - mean
    acceleration = (centred**3).sum() / (6 * (centred**2).sum() ** 1.5)
    z = bias + stats.norm.ppf([0.5 - confidence / 2, 0.5 + confidence / 2])
    low, high = np.quantile(draws, stats.norm.cdf(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


def _resampled_means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    distinct, counts = np.unique(values, return_counts=True)
    n = len(values)
    return np.random.default_rng(seed).multinomial(n, counts / n, size=resamples) @ distinct / n


def paired_difference(
    a: Sequence[float], b: Sequence[float], seed: int, resamples: int = 10_000, confidence: float = 0.95
) -> tuple[float, float, float]:
    """mean(a - b) over the same prompts, and its percentile bootstrap interval (Efron 1979).

    Pairs with a NaN on either side are left out. With one pair the interval is NaN. Where all differences are
    the same, so that resampling shows nothing, it reaches z² / (n + z²) to either side, within [-1, 1]: what
    Wilson's interval gives where all of n trials end alike (our choice). Raises ValueError where lengths differ
    or no pair is left.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values; expected one of each per prompt")
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    difference = difference[~np.isnan(difference)]
    if not len(difference):
        raise ValueError("no prompt was judged for both models")
    mean = float(difference.mean())
    if len(difference) == 1:
        return mean, math.nan, math.nan
    if np.ptp(difference) == 0:
        z2 = float(stats.norm.ppf(0.5 + confidence / 2)) ** 2
        reach = z2 / (len(difference) + z2)
        return mean, max(-1.0, mean - reach), min(1.0, mean + reach)
    draws = _resampled_means(difference, resamples, seed)
    low, high = np.quantile(draws, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return mean, float(low), float(high)


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], seed: int = 0, confidence: float = 0.95
) -> tuple[float, float, float]:
    """(sum / sum, low, high) over rows, by the percentile bootstrap over rows; NaN ends for a single row.

    Raises ValueError for no rows.
    """
    top, bottom = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    n = len(top)
    if not n:
        raise ValueError("the ratio of no rows")
    value = float(top.sum() / bottom.sum())
    if n == 1:
        return value, math.nan, math.nan
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=2_000)
    draws = (times @ top) / (times @ bottom)
    low, high = np.quantile(draws, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return value, float(low), float(high)


def minimum_detectable(prompts: Sequence[Sequence[float]], confidence: float = 0.95) -> float:
    """The least true difference between two models that so many prompts would show, in 4 of 5 cases.

    (z_.975 + z_.8) · sqrt(2 v / n), v the variance of a prompt's mean outcome: as if the two models' outcomes
    were independent, so that a paired comparison sees at least as much where they agree more than by chance.
    For one sample per prompt v = p (1 - p) at Agresti and Coull's p, which is never 0. Our choice.
    """
    means = np.array([sum(group) / len(group) for group in prompts])
    n = len(means)
    p = (means.sum() + 2) / (n + 4)
    single = all(len(group) == 1 for group in prompts) or np.ptp(means) == 0
    variance = p * (1 - p) if single else float(means.var(ddof=1))
    z = stats.norm.ppf(0.5 + confidence / 2) + stats.norm.ppf(POWER)
    return min(1.0, float(z * math.sqrt(2 * variance / n)))
