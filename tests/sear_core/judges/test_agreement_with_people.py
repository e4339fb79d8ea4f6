"""Labels, agreement and its intervals, against arithmetic done by hand."""

import pytest

from sear_core.errors import InputError
from sear_core.judges.agreement import agreement, difference
from sear_core.judges.labels import map_labels, parse_mapping
from sear_core.judges.refusal_rules import CLASSES

FULL, PARTIAL, REFUSAL = CLASSES


def test_agreement_kappa_and_confusion_are_those_done_by_hand():
    labels = [FULL] * 4 + [PARTIAL] * 2 + [REFUSAL] * 4
    verdicts = [FULL, FULL, FULL, REFUSAL, PARTIAL, FULL, REFUSAL, REFUSAL, REFUSAL, PARTIAL]
    found = agreement(verdicts, labels, CLASSES, range(10))
    # right: 3 full, 1 partial, 3 refusals of 10; binary also where partial and refusal are mixed up: one more
    assert found["three_way"] == pytest.approx(0.7) and found["binary"] == pytest.approx(0.8)
    # expected by chance: (4·4 + 2·2 + 4·4) / 100 = .36; kappa = (.7 - .36) / (1 - .36)
    assert found["kappa"] == pytest.approx((0.7 - 0.36) / 0.64)
    # binary: 6 of 10 not full on both sides: .6·.6 + .4·.4 = .52
    assert found["kappa_binary"] == pytest.approx((0.8 - 0.52) / 0.48)
    assert found["confusion"][PARTIAL] == {FULL: 1, PARTIAL: 1, REFUSAL: 0}
    of = found["classes"][REFUSAL]
    assert (of["precision"], of["recall"]) == (0.75, 0.75)  # 3 of 4 judged, 3 of 4 labelled
    low, high = found["intervals"]["three_way"]
    assert (low, high) == (pytest.approx(0.397, abs=1e-3), pytest.approx(0.892, abs=1e-3))  # Wilson, 7 of 10


def test_rows_not_judged_or_not_labelled_are_left_out_of_the_agreement():
    found = agreement([FULL, None, FULL], [FULL, FULL, None], CLASSES, range(3))
    assert found["rows"] == 1 and found["binary"] == 1.0
    nothing = agreement([None], [FULL], CLASSES, [0])
    assert nothing["rows"] == 0 and nothing["binary"] is None and nothing["kappa"] is None


def test_two_classes_of_labels_give_no_three_way_figure():
    found = agreement([FULL, PARTIAL], [FULL, REFUSAL], CLASSES, range(2))
    assert (
        found["three_way"] is None
        and found["binary"] == 1.0
        and found["kappa"] == found["kappa_binary"] == 1.0
    )


def test_kappa_of_two_that_always_say_the_same_one_thing_is_undefined():
    assert agreement([FULL] * 3, [FULL] * 3, CLASSES, range(3))["kappa"] is None  # 0/0


def test_a_prompts_answers_are_one_unit_of_the_difference():
    labels = [FULL] * 4
    a, b = [FULL] * 4, [REFUSAL, REFUSAL, FULL, FULL]
    # one prompt twice: one difference of 1; the others 0: mean 1/3, not 1/2
    mean, low, high = difference(a, b, labels, ["p", "p", "q", "r"], True)
    assert mean == pytest.approx(1 / 3) and low == 0.0 and high == 1.0
    assert difference([None], [FULL], [FULL], ["p"], True) is None


def test_known_vocabularies_are_told_by_their_words():
    xstest = ["1_full_compliance", "2_full_refusal", "3_partial_refusal"]
    assert map_labels(xstest) == [FULL, REFUSAL, PARTIAL]
    tones = [
        "complied",
        "rejected",
        "disclaimed",
        "contradicted",
        "redirected",
        "dontknow",
        None,
        "",
        float("nan"),
    ]
    assert map_labels(tones) == [FULL, REFUSAL, FULL, FULL, None, None, None, None, None]
    assert map_labels(["direct answer", "Indirect Refusal"]) == [FULL, PARTIAL]
    assert map_labels([0, 1, True, "unsafe"], question="harm") == [
        "harmless",
        "harmful",
        "harmful",
        "harmful",
    ]


def test_a_callers_mapping_goes_before_the_guess_and_an_unknown_label_is_refused_by_name():
    mapping = parse_mapping(["full_refusal=redirected,nope", "left_out=complied"])
    assert map_labels(["redirected", "nope", "complied", "rejected"], mapping) == [
        REFUSAL,
        REFUSAL,
        None,
        REFUSAL,
    ]
    with pytest.raises(InputError, match=r"'shrug' \(first in row 2\).*full_compliance=…"):
        map_labels(["complied", "shrug"])
    with pytest.raises(InputError, match="did you mean full_refusal"):
        parse_mapping(["full_refusals=x"])
    with pytest.raises(InputError, match="expected CLASS=LABEL"):
        parse_mapping(["full_refusal"])
    with pytest.raises(InputError, match="given to full_refusal and to full_compliance"):
        parse_mapping(["full_refusal=x", "full_compliance=x"])
