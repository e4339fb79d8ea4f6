"""Attacks force exactly the text they should; suites are checked before anything is generated."""

import pytest

from sear_core.errors import InputError
from sear_core.evaluation.attacks import (
    ATTACKS,
    GENERIC_BENIGN_REASONING,
    GENERIC_HARMFUL_REASONING,
    REASONING_USE,
    first_steps,
    partners,
    resolve,
)
from sear_core.evaluation.suites import SuiteRow, check, from_table, limit_per_category

ROW = SuiteRow(
    "r", "how to do it?", "harmful",
    harmful_reasoning="step one\nstep two\nstep three",
    benign_reasoning="nothing odd\njust answer\n",
    affirmative="gladly, here:",
)  # fmt: skip
BARE = SuiteRow("s", "how to do it?", "harmful")


def build(name, row=ROW, own="my own\n", other="another's\n", steps=2):
    return (ATTACKS | REASONING_USE)[name].build(row, own, other, steps)


def test_a_harmful_prefill_is_the_first_steps_and_leaves_the_block_open():
    assert build("harmful_prefill") == "step one\nstep two\n"
    assert build("harmful_prefill", steps=9) == "step one\nstep two\nstep three\n"


def test_a_reasoning_of_one_line_is_cut_at_sentences_and_at_200_words():
    assert first_steps("First this. Then that. And more.", 2) == "First this. Then that.\n"
    assert first_steps("word " * 500, 1) == " ".join(["word"] * 200) + "\n"


def test_a_benign_hijack_is_a_whole_closed_block():
    assert build("benign_hijack") == "nothing odd\njust answer\n</think>\n"


def test_an_answer_prefill_closes_the_models_own_reasoning_and_opens_the_answer():
    assert build("answer_prefill") == "my own\n</think>\ngladly, here:"


def test_a_reasoning_that_was_never_closed_or_closed_twice_is_forced_with_one_tag():
    assert build("answer_prefill", own="a</think>b</think>").count("</think>") == 1


def test_reasoning_use_forces_an_empty_block_and_another_prompts_reasoning():
    assert build("no_reasoning") == "</think>\n"
    assert build("other_reasoning") == "another's\n</think>\n"
    assert build("other_reasoning", other="") == "</think>\n"


def test_rows_without_texts_get_the_generic_ones():
    lines = GENERIC_HARMFUL_REASONING.splitlines()
    assert build("harmful_prefill", BARE) == f"{lines[0]}\n{lines[1]}\n"
    assert build("benign_hijack", BARE) == f"{GENERIC_BENIGN_REASONING}\n</think>\n"


def test_an_unknown_attack_is_named_with_the_nearest_right_one():
    with pytest.raises(InputError, match="unknown attack 'benign_hijak'; did you mean 'benign_hijack'"):
        resolve(["benign_hijak"])
    assert [attack.name for attack in resolve(["answer_prefill", "none", "answer_prefill"])] == [
        "answer_prefill"
    ]


def test_partners_are_of_another_category_and_evenly_used():
    rows = [
        SuiteRow(f"{category}{i}", f"{category} {i}?", category)
        for category in ("harmful", "harmless", "ambiguous")
        for i in range(4)
    ]
    chosen = partners(rows)
    assert all(rows[other].category != row.category for row, other in zip(rows, chosen, strict=True))
    # 4 rows of each category take from a pool of 8, so none is taken twice by one category
    assert all(len(set(chosen[start : start + 4])) == 4 for start in (0, 4, 8))
    backwards = partners(rows[::-1])
    assert rows[::-1][backwards[-1]].id == rows[chosen[0]].id  # their order in the suite decides nothing


def test_without_another_category_another_prompt_is_the_partner():
    rows = [SuiteRow(str(i), f"prompt {i}", "harmful") for i in range(3)]
    assert all(other != index for index, other in enumerate(partners(rows)))


def table_row(identifier, category="harmful", **changes):
    return {"id": identifier, "prompt": f"prompt {identifier}", "category": category, **changes}


def test_null_texts_of_the_table_count_as_empty():
    assert from_table([table_row("a", affirmative=None, split="test")])[0].affirmative == ""


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (table_row("a", "toxic"), "row 'a': category 'toxic', expected one of harmful, harmless"),
        (table_row("a", prompt=" "), r"row 0 \(id 'a'\) has no prompt"),
        (table_row(None), "has no id"),
    ],
)
def test_a_row_that_cannot_be_evaluated_is_named(row, message):
    with pytest.raises(InputError, match=message):
        from_table([row])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "suite is empty"),
        ([table_row("a"), table_row("b", "ambiguous")], "has no harmless prompt"),
        ([table_row("a", "harmless")], "has no harmful prompt"),
        ([table_row("a"), table_row("a", "harmless")], "id 'a' occurs 2 times"),
    ],
)
def test_a_one_sided_suite_is_refused(rows, message):
    with pytest.raises(InputError, match=message):
        check(from_table(rows))


def test_a_suite_without_ambiguous_prompts_is_noted():
    notes = check(from_table([table_row("a"), table_row("b", "harmless")]))
    assert notes == ["no ambiguous prompts in the suite: their metrics are left out"]


def test_a_limit_keeps_the_same_rows_of_each_category_whatever_their_order():
    rows = from_table(
        [table_row(f"{c}{i}", c) for c in ("harmful", "harmless", "ambiguous") for i in range(9)]
    )
    kept = limit_per_category(rows, 3)
    assert [sum(row.category == c for row in kept) for c in ("harmful", "harmless", "ambiguous")] == [3, 3, 3]
    assert {row.id for row in limit_per_category(rows[::-1], 3)} == {row.id for row in kept}
