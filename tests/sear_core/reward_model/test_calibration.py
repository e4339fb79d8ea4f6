import math

import numpy as np
import pytest

from sear_core.reward_model.calibration import (
    auroc,
    brier,
    expected_calibration_error,
    fit_temperature,
    reliability,
    sigmoid,
)
from sear_core.reward_model.helpfulness import pair_metrics, pair_temperature


def test_sigmoid_by_hand_and_without_overflow():
    assert sigmoid([0.0, math.log(3), -1000.0, 1000.0]).tolist() == pytest.approx([0.5, 0.75, 0.0, 1.0])


def test_calibration_error_by_hand():
    # bin [.2, .3): p = .2, .3-  -> mean p .25, labels 0, 1 -> mean .5 : gap .25, weight 2/4
    # bin [.9, 1]: p = .9, 1.0 -> mean p .95, labels 1, 1 -> 1.0 : gap .05, weight 2/4
    p, y = [0.21, 0.29, 0.9, 1.0], [0, 1, 1, 1]
    assert [(row["low"], row["count"]) for row in reliability(p, y)] == [(0.2, 2.0), (0.9, 2.0)]
    assert expected_calibration_error(p, y) == pytest.approx(0.5 * 0.25 + 0.5 * 0.05)
    assert math.isnan(expected_calibration_error([], []))


def test_brier_by_hand():
    assert brier([0.5, 1.0], [0, 1]) == pytest.approx(0.125)  # (.25 + 0) / 2


def test_temperature_restores_overconfident_logits():
    # The true log-odds are ±log 3 (three of four right), the logits say twice that: T = 2.
    logits = [2 * math.log(3)] * 4 + [-2 * math.log(3)] * 4
    assert fit_temperature(logits, [1, 1, 1, 0, 0, 0, 0, 1]) == pytest.approx(2.0, abs=1e-3)
    assert fit_temperature([], []) == 1.0


def test_soft_labels_are_fitted_too():
    assert fit_temperature([math.log(9)] * 2 + [-math.log(9)] * 2, [0.75, 0.75, 0.25, 0.25]) == pytest.approx(
        math.log(9) / math.log(3), abs=1e-3
    )


def test_auroc_by_hand_and_unknown_with_one_class():
    assert auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 0.9]) == pytest.approx(0.75)  # 3 of 4 pairs in order
    assert math.isnan(auroc([0.1, 0.2], [0, 0.5]))


def test_the_temperature_of_pairs_softens_a_model_that_is_too_sure_and_never_sharpens_one():
    # margins of ±4, 3 of 4 right: σ(4 / T) = 3/4 at 4 / T = log 3, T = 3.641
    assert pair_temperature([4.0, 4.0, 4.0, -4.0]) == pytest.approx(4 / math.log(3), rel=1e-3)
    assert pair_temperature([0.5, 0.5, 0.5, 0.5]) == 1.0  # all right: the best fit would be ever sharper
    assert pair_temperature([]) == 1.0


def test_pair_metrics_by_hand():
    m = pair_metrics(np.array([math.log(3), math.log(3), math.log(3), -math.log(3), 0.0]))
    assert m["pairs.n"] == 5
    assert m["pairs.accuracy"] == pytest.approx(3.5 / 5)
    assert m["pairs.margin"] == pytest.approx(2 * math.log(3) / 5)
    assert m["pairs.ece"] == pytest.approx(0.0, abs=1e-12)  # .75 sure and right in 3 of 4; .5 sure, a tie
