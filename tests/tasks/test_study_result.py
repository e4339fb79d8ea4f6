"""Members to a study's result: by share, paired by seed, failed ones left out."""

import pytest

from tasks.study_plots import figures_of
from tasks.study_result import study_result


def member(arm, seed, dsr, share=0.25, status="finished", ambiguous=0.8):
    metrics = {"dsr": dsr, "dsr.low": dsr - 0.1, "dsr.high": dsr + 0.1, "dsr.hijack": dsr / 2,
               "compliance.ambiguous": ambiguous, "compliance.ambiguous.hijack": 0.5,
               "compliance.harmless": 0.9}  # fmt: skip
    return {"name": f"{arm}, seed {seed}, share {share}", "arm": arm, "seed": seed, "share": share,
            "status": status, "metrics": metrics if status == "finished" else {}, "error": ""}  # fmt: skip


MEMBERS = [
    member("grpo", 0, 0.5), member("grpo", 1, 0.7), member("grpo_sum", 0, 0.6), member("grpo_sum", 1, 0.2),
    member("sear", 0, 0.8), member("sear", 1, 0.9), member("sear", 2, 0.4, status="failed"),
    member("sear", 0, 0.95, share=0.4), member("grpo", 0, 0.9, share=0.4),
]  # fmt: skip


def result(members=MEMBERS, histories=None):
    return study_result(members, histories or {}, "grpo", [0.25, 0.4], "sear")


def test_each_share_has_its_own_means_and_the_first_is_the_main_one():
    found = result()
    assert found.arms["sear"]["dsr"].mean == pytest.approx(0.85) and found.arms["sear"]["dsr"].n == 2
    main, further = found.shares
    assert (main.share, further.share) == (0.25, 0.4) and main.arms == found.arms
    assert set(further.arms) == {"sear", "grpo"} and further.arms["sear"]["dsr"].mean == 0.95
    assert further.differences["sear"]["dsr"].mean == pytest.approx(0.05)


def test_differences_are_to_the_baseline_and_the_candidate_is_held_against_every_arm():
    found = result()
    # seeds 0 and 1: .8 − .5 and .9 − .7, mean .25; against grpo_sum .2 and .7, mean .45
    assert found.differences["sear"]["dsr"].mean == pytest.approx(0.25)
    assert found.differences["grpo_sum"]["dsr"].mean == pytest.approx(-0.2)
    assert found.against["grpo"]["dsr"] == found.differences["sear"]["dsr"]
    assert found.against["grpo_sum"]["dsr"].mean == pytest.approx(0.45)
    assert "grpo" not in found.differences and "sear" not in found.against


def test_collapsed_members_are_named_and_counted_in_the_mean():
    found = result()
    assert found.collapsed == {"grpo_sum": ["grpo_sum, seed 1, share 0.25"]}
    assert found.arms["grpo_sum"]["collapsed"].mean == 0.5
    assert found.flat()["grpo_sum.collapsed"] == 0.5
    assert found.flat()["difference.sear.dsr"] == pytest.approx(0.25)
    assert found.flat()["sear.dsr.low"] == found.arms["sear"]["dsr"].low


def test_the_plots_are_the_trade_off_direct_and_per_attack_and_the_curves():
    histories = {
        f"sear, seed {seed}, share 0.25": [{"step": n, "kl": 0.1 * n + seed} for n in (1, 2, 3)]
        for seed in (0, 1)
    }
    found = result(histories=histories)
    assert [(point.step, point.n) for point in found.curves["sear"]["kl"]] == [(1, 2), (2, 2), (3, 2)]
    assert found.curves["sear"]["kl"][0].mean == pytest.approx(0.6)  # .1 and 1.1
    figures = figures_of(found)
    assert list(figures) == ["trade_off", "trade_off.hijack", "curves"]
    for svg in figures.values():
        assert svg.startswith("<svg") and "sear" in svg and "<script" not in svg
    assert "0.4" in figures["trade_off"]  # a point per share
