"""Intervals against hand-computed values, and their coverage in simulations."""

import math

import numpy as np
import pytest

from sear_core.evaluation.intervals import (
    mean_interval,
    minimum_detectable,
    paired_difference,
    rate_interval,
    ratio_interval,
    wilson,
)

P = [0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95]


def test_wilsons_interval_of_8_in_10_is_what_the_formula_gives():
    # z = 1.959964, z² = 3.841459; centre (0.8 + 3.841459/20) / 1.3841459 = 0.992073/1.3841459 = 0.716740
    # half 1.959964/1.3841459 · sqrt(0.8·0.2/10 + 3.841459/400) = 1.416010 · 0.160013 = 0.226580
    low, high = wilson(8, 10)
    assert low == pytest.approx(0.49016, abs=1e-4)
    assert high == pytest.approx(0.94332, abs=1e-4)


def test_wilsons_interval_of_none_and_of_all_holds_the_rate_itself():
    # 0 of 10: high = (z²/n) / (1 + z²/n) = 0.3841459 / 1.3841459 = 0.277533
    assert wilson(0, 10) == (0.0, pytest.approx(0.277533, abs=1e-5))
    assert wilson(10, 10) == (pytest.approx(0.722467, abs=1e-5), 1.0)


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 4), (5, 4)])
def test_an_impossible_count_has_no_interval(successes, n):
    with pytest.raises(ValueError, match="expected 0 <= successes <= n"):
        wilson(successes, n)


def share(covered):
    covered = np.asarray(covered)
    return covered.mean()


@pytest.mark.parametrize("n", [200, 450])
@pytest.mark.parametrize("p", P)
def test_a_rates_interval_covers_the_true_rate_95_times_in_100(n, p):
    counts = np.bincount(np.random.default_rng(7).binomial(n, p, 50_000), minlength=n + 1)
    seen = np.flatnonzero(counts)
    bounds = {k: rate_interval([[1.0]] * k + [[0.0]] * (n - k))[1:] for k in seen.tolist()}
    covered = sum(counts[k] for k, (low, high) in bounds.items() if low <= p <= high) / 50_000
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("likeness", [0.1, 0.7])  # of the samples of one prompt: their correlation
@pytest.mark.parametrize("p", [0.05, 0.3, 0.95])
def test_with_several_samples_per_prompt_the_clustered_interval_covers_it_too(p, likeness):
    n, samples, trials = 200, 4, 1_000
    dice = np.random.default_rng(11)
    scale = (1 - likeness) / likeness  # beta-binomial: the correlation is 1 / (a + b + 1)
    rates = dice.beta(p * scale, (1 - p) * scale, (trials, n))
    right = dice.binomial(samples, rates)
    covered, naive = [], []
    for trial in right:
        prompts = [[1.0] * k + [0.0] * (samples - k) for k in trial.tolist()]
        _, low, high = rate_interval(prompts)
        covered.append(low <= p <= high)
        low, high = wilson(float(trial.sum()), n * samples)
        naive.append(low <= p <= high)
    assert 0.93 <= share(covered) <= 0.97
    if likeness > 0.5:  # counting every sample as a prompt of its own promises too much
        assert share(naive) < 0.9


@pytest.mark.parametrize(("p", "q"), [(0.05, 0.1), (0.5, 0.5), (0.9, 0.8)])
def test_the_paired_interval_covers_the_true_difference_95_times_in_100(p, q):
    n, trials = 200, 1_000
    # the same prompts are hard for both: b copies a's latent half of the time
    dice = np.random.default_rng(5)
    latent = dice.random((trials, n))
    other = np.where(dice.random((trials, n)) < 0.5, latent, dice.random((trials, n)))
    covered = []
    for a, b in zip(latent < p, other < q, strict=True):
        _, low, high = paired_difference(a, b, seed=1, resamples=4_000)
        covered.append(low <= p - q <= high)
    assert 0.93 <= share(covered) <= 0.97


def test_where_all_prompts_agree_in_their_samples_the_interval_does_not_collapse():
    assert rate_interval([[1.0, 1.0]] * 10) == (1.0, *wilson(10, 10))
    assert rate_interval([[0.5, 0.5], [0.0, 1.0]]) == (0.5, *wilson(1, 2))
    assert rate_interval([[1.0], [0.0], [1.0]]) == (2 / 3, *wilson(2, 3))
    with pytest.raises(ValueError, match="the rate of no prompts"):
        rate_interval([])


def test_a_difference_as_large_as_the_minimum_detectable_one_is_seen_4_times_in_5():
    n, p = 300, 0.6
    least = minimum_detectable([[1.0]] * 180 + [[0.0]] * 120)
    # Agresti and Coull: p = 182/304; 2.801585 · sqrt(2 · 182/304 · 122/304 / 300) = 0.112132
    assert least == pytest.approx(0.112132, abs=1e-5)
    dice = np.random.default_rng(3)
    a, b = dice.random((1_000, n)) < p + least / 2, dice.random((1_000, n)) < p - least / 2
    seen = [paired_difference(x, y, seed=0, resamples=2_000)[1] > 0 for x, y in zip(a, b, strict=True)]
    assert 0.76 <= share(seen) <= 0.86


def test_the_minimum_detectable_difference_of_clustered_samples_is_that_of_their_prompts():
    # means 1, 0.5, 0: variance 1/4; 2.801585 · sqrt(2 · 0.25 / 3) = 1.1437, and a rate differs by 1 at most
    assert minimum_detectable([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]) == 1.0
    groups = [[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]] * 20
    # variance (40 · 0.25) / 59; 2.801585 · sqrt(2 · 0.169492 / 60) = 0.210582
    assert minimum_detectable(groups) == pytest.approx(0.210582, abs=1e-5)


def test_a_ratio_is_of_sums_and_its_interval_is_a_bootstrap_over_rows():
    value, low, high = ratio_interval([1.0, 9.0] * 50, [1.0, 3.0] * 50)
    assert value == 10 / 4 and low < 2.5 < high
    # every row has the same ratio: nothing is uncertain
    assert ratio_interval([2.0, 4.0], [1.0, 2.0]) == (2.0, 2.0, 2.0)
    assert math.isnan(ratio_interval([2.0], [1.0])[1])


def test_a_means_interval_is_students():
    # 1, 2, 3: mean 2, sd 1, t(0.975; 2) = 4.302653; half = 4.302653 / sqrt(3) = 2.484138
    assert mean_interval([1, 2, 3]) == pytest.approx((2.0, -0.484138, 4.484138), abs=1e-5)
    assert math.isnan(mean_interval([5.0])[1])


def test_the_paired_difference_is_the_mean_of_differences_with_a_bootstrap_interval_around_it():
    a, b = [1.0, 1.0, 1.0, 0.0] * 25, [0.0, 1.0, 0.0, 0.0] * 25
    # half of the pairs differ by 1: mean 0.5, standard error sqrt(0.25/100) = 0.05, so about 0.5 ± 0.098
    difference, low, high = paired_difference(a, b, seed=0)
    assert difference == 0.5
    assert low == pytest.approx(0.402, abs=0.011) and high == pytest.approx(0.598, abs=0.011)
    assert paired_difference(a, b, seed=0) == (difference, low, high)


def test_pairs_with_an_unjudged_side_are_left_out_of_the_difference():
    # all differences agree: z² / (n + z²) = 3.841459 / 5.841459 = 0.657620 to either side, at most 1
    assert paired_difference([1, math.nan, 1], [0, 0, 0], seed=0) == (
        1.0,
        pytest.approx(0.34238, abs=1e-5),
        1.0,
    )
    with pytest.raises(ValueError, match="no prompt was judged"):
        paired_difference([math.nan], [1.0], seed=0)
    with pytest.raises(ValueError, match="2 and 1 values"):
        paired_difference([1.0, 0.0], [1.0], seed=0)
