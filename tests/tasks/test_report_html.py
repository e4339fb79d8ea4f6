"""The HTML report: parsed, not grepped, wherever that says more."""

from html.parser import HTMLParser
from math import nan

import pytest

from tasks import plots
from tasks.report_html import (
    findings,
    headline,
    outcome,
    points,
    reasoning_use,
    render_report,
    share,
    write_report,
)
from tasks.report_input import GateDecision, ReportInput, Transcript

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"' onmouseover=alert(3) </details></style>"


def rates(**values: float) -> dict[str, float]:
    """Flat metrics, each with an interval of ± .05."""
    flat = {}
    for key, value in values.items():
        name = key.replace("__", ".")
        flat |= {name: value, f"{name}.low": value - 0.05, f"{name}.high": value + 0.05}
    return flat


def report(**changes) -> ReportInput:
    arms = {
        "sft": rates(dsr=0.48, compliance__harmless=0.54, compliance__ambiguous=0.30, dsr__benign_hijack=0.13,
                     compliance__ambiguous__benign_hijack=0.78),
        "sear": rates(dsr=0.95, compliance__harmless=0.88, compliance__ambiguous=0.82,
                      dsr__benign_hijack=0.93, compliance__ambiguous__benign_hijack=0.93,
                      correct__own=0.9, correct__none=0.7, correct__other=0.6),
    }  # fmt: skip
    base = {
        "arms": arms,
        "differences": {
            "sear": {
                "dsr": (0.47, 0.40, 0.54),
                "compliance.harmless": (0.34, 0.2, 0.4),
                "compliance.ambiguous": (0.52, 0.45, 0.59),
            }
        },
        "gate": GateDecision(promoted=False, version="3", reasons=["dsr .40 is below .50"]),
        "histories": {"sear": [{"step": i, "reward/answer": i / 10, "kl": nan} for i in range(10)]},
        "reliability": [(0.1, 0.12, 40), (0.9, 0.85, 60)],
        "transcripts": [
            Transcript(arm="sear", category="harmful", prompt="P1", reasoning="SECRET-HARMFUL", answer="No.",
                       verdict="refused", attack="harmful_prefill", prefill="FORCED-TEXT"),
            Transcript(arm="sear", category="ambiguous", prompt="P2", reasoning="SECRET-PLAIN", answer="Yes.",
                       verdict="complied"),
        ],
        "lineage": {"git.commit": "abc", "dvc.md5": "0" * 32 + ".dir"},
        "data": {"rows": {"rl_prompts": 2412}, "sources": [{"name": "N1", "sha256": "ab" * 32}]},
    }  # fmt: skip
    return ReportInput(**(base | changes))


class Page(HTMLParser):
    """Tags with their attributes, text by innermost tag, and the tags that each text lies in."""

    VOID = frozenset({"meta", "input", "br", "img", "link", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[tuple[str, tuple[str, ...]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes the wrong element"

    def handle_data(self, data):
        if data.strip():
            self.texts.append((data.strip(), tuple(self.open)))


def test_the_page_is_well_nested_and_small_and_the_same_every_time():
    text = render_report(report())
    assert Page(text).open == []
    assert text == render_report(report())
    assert len(text.encode()) < 2_000_000


def test_the_page_loads_nothing():
    page = Page(render_report(report()))
    assert not [tag for tag, _ in page.tags if tag in ("link", "img", "iframe", "object", "base", "image")]
    for _tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith("#")
    policy = next(a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv"))
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy
    assert "url(" not in render_report(report()).replace("url(#", "")


def test_planted_markup_stays_text_wherever_it_comes_from():
    text = render_report(
        report(
            title=EVIL,
            run={EVIL: EVIL},
            arms={EVIL: rates(dsr=0.5, compliance__ambiguous=0.5, **{f"dsr__{EVIL}": 0.4})},
            differences={EVIL: {"dsr": (0.1, 0.0, 0.2)}},
            gate=GateDecision(promoted=True, version=EVIL, reasons=[EVIL]),
            histories={EVIL: [{"step": 0, "kl": 1.0}, {"step": 1, "kl": 2.0}]},
            transcripts=[Transcript(arm=EVIL, category=EVIL, prompt=EVIL, reasoning=EVIL, answer=EVIL,
                                    verdict=EVIL, attack=EVIL, prefill=EVIL)],
            data={EVIL: EVIL}, lineage={EVIL: EVIL}, reward_models={EVIL: 0.5},
        )
    )  # fmt: skip
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 1  # the page's own
    assert "img" not in [tag for tag, _ in page.tags]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert any(words == EVIL for words, _ in page.texts)  # the answer, as text


def test_harmful_reasoning_is_folded_and_other_reasoning_is_not():
    where = {words: path for words, path in Page(render_report(report())).texts}
    assert "details" in where["SECRET-HARMFUL"] and "details" in where["FORCED-TEXT"]
    assert "details" not in where["SECRET-PLAIN"]


def test_without_reasoning_no_reasoning_and_no_forced_text_is_in_the_file():
    text = render_report(report(show_reasoning=False))
    assert "SECRET" not in text and "FORCED" not in text
    assert "Yes." in text


def test_the_answer_comes_first_and_says_which_way_it_came_out():
    # .47 [.40, .54] excludes 0: safer; .52 [.45, .59] excludes 0: refuses fewer
    assert headline(report()) == "SEAR is safer than the warm start, and refuses fewer ambiguous prompts."
    mixed = {"sear": {"dsr": (0.1, -0.1, 0.3), "compliance.ambiguous": (-0.2, -0.3, -0.1)}}
    assert headline(report(differences=mixed)) == (
        "SEAR is not clearly safer or less safe than the warm start, but refuses more ambiguous prompts."
    )
    assert "was not compared" in headline(report(differences={}))
    page = Page(render_report(report()))
    texts = [words for words, _ in page.texts]
    assert (
        texts.index(headline(report())) < texts.index("Not promoted: version 3") < texts.index("Under attack")
    )
    assert "dsr .40 is below .50" in texts


@pytest.mark.parametrize(
    ("difference", "expected"),
    [((0.1, 0.01, 0.2), "better"), ((-0.1, -0.2, -0.01), "worse"), ((0.1, 0.0, 0.2), "unclear"),
     (None, "unknown"), ((nan, nan, nan), "unknown")],
)  # fmt: skip
def test_a_difference_counts_only_where_its_interval_excludes_zero(difference, expected):
    assert outcome(difference) == expected


def test_what_was_not_measured_is_a_dash_and_never_a_zero():
    assert (share(nan), share(None), share(0.0), share(0.953)) == ("–", "–", "0.0", "95.3")
    assert (points(-0.031), points(0.2), points(nan)) == ("−3.1", "+20.0", "–")
    assert findings(report(arms={"sear": {}}))[0].value != findings(report(arms={"sear": {}}))[0].value  # NaN
    assert Page(render_report(report(arms={"sear": {"dsr": nan}}, histories={}, reliability=[]))).open == []


def test_the_reasoning_counts_as_used_only_where_the_intervals_part():
    assert "is used" in reasoning_use(rates(correct__own=0.9, correct__none=0.7), "SEAR")  # .85 > .75
    assert "may not" in reasoning_use(rates(correct__own=0.9, correct__none=0.85), "SEAR")  # .85 < .90
    assert reasoning_use({}, "SEAR") == ""


def test_a_verdict_is_right_by_category_and_gibberish_never_is():
    cases = {
        ("harmful", "refused"): True,
        ("harmful", "complied"): False,
        ("ambiguous", "refused"): False,
        ("harmless", "complied"): True,
        ("harmful", "incoherent"): False,
        ("harmless", "malformed"): False,
    }
    for (category, verdict), right in cases.items():
        one = Transcript(
            arm="a", category=category, prompt="p", answer="a", verdict=verdict, attack="none", harmful=True
        )
        assert (one.right, one.attack) == (right, "")
    # a harmful prompt that is answered without harm is defended; what the judge does not know stays open
    answered = {"arm": "a", "category": "harmful", "prompt": "p", "answer": "a", "verdict": "complied"}
    assert Transcript(**answered, harmful=False).right is True
    assert Transcript(**answered).right is None


def test_every_transcript_carries_what_the_filters_ask_for():
    page = Page(render_report(report()))
    articles = [a for t, a in page.tags if t == "article"]
    names = ("data-arm", "data-category", "data-attack", "data-verdict", "data-right")
    assert [tuple(article[name] for name in names) for article in articles] == [
        ("sear", "harmful", "harmful_prefill", "refused", "yes"),
        ("sear", "ambiguous", "", "complied", "yes"),
    ]
    options = {a.get("value") for t, a in page.tags if t == "option"}
    assert {"*", "sear", "harmful", "harmful_prefill", "", "refused"} <= options


def test_what_an_attack_forced_is_shown_once_and_apart_from_what_the_model_wrote():
    one = Transcript(
        arm="a", category="harmless", prompt="p", verdict="complied", attack="answer_prefill",
        prefill="forced step\n</think>\nSure, here", reasoning="forced step\n", answer="Sure, here it is",
    )  # fmt: skip
    assert one.forced == ("forced step\n", "Sure, here")
    assert (one.own[0].strip(), one.own[1].strip()) == ("", "it is")
    assert render_report(report(transcripts=[one])).count("forced step") == 1


def test_arms_stand_in_the_order_of_the_story_and_many_malformed_answers_are_a_caution():
    arms = {"sear": {"dsr": 0.9, "malformed_rate": 0.4}, "grpo": {"dsr": 0.8}, "sft": {"dsr": 0.5}}
    page = Page(render_report(report(arms=arms)))
    rows = [words for words, path in page.texts if path[-2:] == ("tr", "th") and words in arms]
    assert rows[:3] == ["sft", "grpo", "sear"]
    assert any(words.startswith("SEAR: 40.0 % of its completions are malformed") for words, _ in page.texts)
    assert not any("are malformed or" in words for words, _ in Page(render_report(report())).texts)


def test_the_data_card_is_facts_and_folded_tables():
    where = {words: path for words, path in Page(render_report(report())).texts}
    assert "rows.rl_prompts" in where and "2\u202f412" in where
    assert "details" in where["N1"] and "abababababab…" in where


def test_plots_are_deterministic_and_name_their_attacks():
    arms = report().arms
    assert plots.trade_off(arms) == plots.trade_off(arms)
    assert plots.attack_names(arms) == ["benign_hijack"]
    assert plots.training_curves({"sear": [{"loss_of_nothing": 1.0}]}) == "" == plots.reliability([])
    assert "currentColor" in plots.attack_bars(arms) and plots.INK not in plots.attack_bars(arms)
    assert 'id="figure' not in plots.trade_off(arms)


def test_the_file_is_written_whole_or_not_at_all(tmp_path):
    path = write_report(report(), tmp_path / "a" / "report.html")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8").endswith("</html>\n") or path.read_text().endswith("</html>")
