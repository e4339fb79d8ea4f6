"""Means over seeds, their t intervals, differences paired by seed, and curves: against hand-computed values."""

import math

import pytest

from sear_core.evaluation.seeds import curves_over_seeds, paired_differences, summarise_seeds, with_derived


def test_an_arm_s_mean_has_the_t_interval_over_its_seeds():
    # mean (.8 + .9 + 1.0) / 3 = .9; s = sqrt((.01 + 0 + .01) / 2) = .1; t(.975, 2) = 4.302653
    # half width 4.302653 × .1 / sqrt(3) = .2484138
    found = summarise_seeds({0: {"dsr": 0.8}, 1: {"dsr": 0.9}, 2: {"dsr": 1.0}})["dsr"]
    assert found["mean"] == pytest.approx(0.9) and found["sd"] == pytest.approx(0.1)
    assert found["low"] == pytest.approx(0.9 - 0.2484138, abs=1e-6)
    assert found["high"] == pytest.approx(0.9 + 0.2484138, abs=1e-6)
    assert found["n"] == 3


def test_differences_are_paired_by_seed_so_that_what_seeds_share_cancels():
    # a − b is .1, .2, .3 in seeds 1, 2, 3 while a itself runs from .3 to .9:
    # mean .2, s .1, half width .2484138; unpaired it would be several times as wide
    a = {0: {"dsr": 0.0}, 1: {"dsr": 0.3}, 2: {"dsr": 0.6}, 3: {"dsr": 0.9}}
    b = {1: {"dsr": 0.2}, 2: {"dsr": 0.4}, 3: {"dsr": 0.6}, 4: {"dsr": 1.0}}
    found = paired_differences(a, b)["dsr"]
    assert found["n"] == 3  # seeds 0 and 4 have no partner
    assert found["mean"] == pytest.approx(0.2)
    assert (found["low"], found["high"]) == (
        pytest.approx(0.2 - 0.2484138, abs=1e-6),
        pytest.approx(0.2 + 0.2484138, abs=1e-6),
    )


def test_one_seed_has_a_mean_and_no_interval():
    assert summarise_seeds({4: {"dsr": 0.5}})["dsr"] == {
        "mean": 0.5, "n": 1, "low": None, "high": None, "sd": None,
    }  # fmt: skip


def test_a_metric_that_some_seeds_could_not_measure_is_averaged_over_the_others():
    found = summarise_seeds({0: {"dsr": 1.0, "flip_rate": 0.5}, 1: {"dsr": 0.0}})
    assert (found["flip_rate"]["n"], found["dsr"]["n"]) == (1, 2)
    assert paired_differences({0: {"dsr": 1.0}}, {0: {"flip_rate": 0.5}}) == {}
    assert paired_differences({0: {"dsr": 1.0}}, {1: {"dsr": 0.5}}) == {}


@pytest.mark.parametrize(
    ("ambiguous", "collapsed"), [(0.49, 1.0), (0.50, 0.0)], ids=["below one half", "at one half"]
)
def test_the_derived_metrics_are_the_sum_of_both_sides_and_whether_one_of_them_collapsed(
    ambiguous, collapsed
):
    metrics = {"dsr": 0.9, "dsr.low": 0.8, "dsr.high": 0.95, "compliance.harmless": 0.7,
               "compliance.ambiguous": ambiguous}  # fmt: skip
    found = with_derived(metrics)
    assert found["trade_off"] == pytest.approx(0.9 + ambiguous)
    assert found["collapsed"] == collapsed
    assert "dsr.low" not in found
    assert "collapsed" not in with_derived({"dsr": 0.9, "compliance.ambiguous": 0.9})  # one side is unknown


def test_curves_have_at_each_update_the_mean_and_the_spread_of_the_seeds_that_logged_it():
    histories = {
        0: [{"step": 5, "kl": 1.0, "note": "text"}, {"step": 10, "kl": 4.0}],
        1: [{"step": 5, "kl": 3.0}, {"step": 10, "kl": math.nan}],
    }
    # at 5: mean 2, s = sqrt((1 + 1) / 1) = 1.41421; at 10 one value alone
    first, second = curves_over_seeds(histories)["kl"]
    assert first == {
        "step": 5, "n": 2, "mean": 2.0,
        "low": pytest.approx(2 - 1.414214, abs=1e-6), "high": pytest.approx(2 + 1.414214, abs=1e-6),
    }  # fmt: skip
    assert second == {"step": 10, "mean": 4.0, "low": None, "high": None, "n": 1}
    assert set(curves_over_seeds(histories)) == {"kl"}
