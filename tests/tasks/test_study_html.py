"""The page of a study: what it claims, what it does not, and that every member is on it."""

import pytest

from tasks.study_html import findings, render_study
from tasks.study_result import StudyResult

EVIL = "<script>alert(1)</script>"


def estimate(mean: float, half: float | None = 0.05, n: int = 3) -> dict:
    """mean ± half; None: one seed."""
    if half is None:
        return {"mean": mean, "n": 1}
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": n, "sd": half}


def rates(dsr: float, half: float | None = 0.05) -> dict:
    names = ("dsr", "compliance.harmless", "compliance.ambiguous", "dsr.benign_hijack")
    return {name: estimate(dsr - 0.1 * place, half) for place, name in enumerate(names)}


def study(**changes) -> StudyResult:
    arms = {"sear": rates(0.8), "sft": rates(0.5)}
    differences = {"sear": rates(0.3)}  # .3, .2, .1, 0
    members = [
        {"name": "sft, seed 0", "arm": "sft", "seed": 0, "status": "finished", "metrics": {"dsr": 0.512}},
        {
            "name": "sear, seed 0",
            "arm": "sear",
            "seed": 0,
            "status": "failed",
            "error": f"out of memory {EVIL}",
        },
    ]
    base = {"baseline": "sft", "members": members, "arms": arms, "differences": differences,
            "shares": [{"share": None, "arms": arms, "differences": differences}]}  # fmt: skip
    return StudyResult.model_validate(base | changes)


def page(result: StudyResult, **lineage: str) -> str:
    return render_study(result, {}, lineage)


def test_the_answer_is_about_the_method_and_counts_only_what_excludes_zero():
    found = {finding.name: finding for finding in findings(study(), "sear")}
    assert (found["dsr"].value, found["dsr"].base) == (0.8, 0.5)
    assert found["dsr"].difference == pytest.approx((0.3, 0.25, 0.35))
    assert found["compliance.ambiguous"].outcome == "better"  # .1 ± .05
    assert "SEAR is safer than the warm start, and refuses fewer ambiguous prompts." in page(study())
    unclear = {"sear": {"dsr": estimate(0.3), "compliance.ambiguous": estimate(0.02)}}
    assert "but does not clearly refuse more or fewer" in page(study(differences=unclear))


def test_one_seed_gives_values_and_no_claim():
    one = study(
        arms={"sft": rates(0.5, None), "sear": rates(0.8, None)}, differences={"sear": rates(0.3, None)}
    )
    text = page(one)
    assert "Too few seeds for an interval" in text and "▲ better" not in text and "+30.0" in text
    assert "No arm was compared" in page(study(differences={}))


def test_failed_and_collapsed_members_are_named_and_their_errors_are_text():
    text = page(study(collapsed={"sft": ["sft, seed 0"]}))
    assert "1 of 2 members failed and are in no mean: sear, seed 0." in text
    assert "The warm start collapsed in 1 member: sft, seed 0." in text
    assert EVIL not in text and "out of memory &lt;script&gt;" in text
    assert "✗ failed" in text and "51.2" in text
    assert "Caution" not in page(study(members=[]))


def test_the_baseline_comes_first_and_every_share_has_its_table():
    text = page(study())
    assert text.index('</span>sft<span class="note">') < text.index('</span>sear<span class="note">')
    assert "By share" not in text
    arms = {"sft": rates(0.5), "sear": rates(0.8)}
    shares = [{"share": share, "arms": arms, "differences": {}} for share in (0.4, 0.2)]
    text = page(study(shares=shares))
    assert "By share of harmful prompts" in text and "40 % harmful" in text and "20 % harmful" in text


def test_lineage_is_shown_where_it_is_known_and_the_page_is_the_same_every_time():
    text = page(study(), **{"git.commit": "abc123"})
    assert "abc123" in text and "Lineage" in text and "Lineage" not in page(study())
    assert text == page(study(), **{"git.commit": "abc123"})


def test_rewards_are_held_against_the_judge_where_that_was_measured():
    arms = {
        "sft": rates(0.5),
        "sear": rates(0.8) | {"overpaid_rate": estimate(0.12), "value_auroc": estimate(0.876)},
    }
    text = page(study(arms=arms))
    assert "Rewarded, but wrong" in text and "12.0" in text and "0.876" in text
    assert "Are the rewards still right" not in page(study())


def test_the_candidate_is_held_against_every_other_arm():
    text = page(study(candidate="sear", against={"grpo": {"dsr": estimate(-0.2)}}))
    section = text[text.index("SEAR against every other arm") :]
    assert "SEAR minus" in section and section.index("grpo") < section.index("−20.0") < section.index(
        "▼ worse"
    )
    assert "against every other arm" not in page(study())
