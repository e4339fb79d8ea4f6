import pytest

from sear_core.errors import InputError
from sear_core.policy.prompts import balanced_order, check_context, training_rows
from sear_core.tiny_model import build_tokenizer

CATEGORIES = ["harmful"] * 8 + ["harmless"] * 4 + ["ambiguous"] * 4


def test_every_batch_holds_the_categories_in_their_mix():
    order = balanced_order(CATEGORIES, 24, seed=0)
    for start in range(0, 24, 4):  # a batch of 4: 2 harmful, 1 harmless, 1 ambiguous
        batch = [CATEGORIES[i] for i in order[start : start + 4]]
        assert sorted(batch) == ["ambiguous", "harmful", "harmful", "harmless"]
    assert sorted(order[:16]) == list(range(16))  # nobody comes twice before all have come


def test_the_seed_decides_the_order():
    assert balanced_order(CATEGORIES, 16, 1) == balanced_order(CATEGORIES, 16, 1)
    assert balanced_order(CATEGORIES, 16, 1) != balanced_order(CATEGORIES, 16, 2)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(["how to fold a lamp"] * 9, 300)


def rows(tokenizer, **kwargs):
    prompts = [{"prompt": f"p{i}", "category": c} for i, c in enumerate(CATEGORIES)]
    prompts.append({"prompt": "long " * 50, "category": "harmless"})
    return training_rows(tokenizer, prompts, length=16, seed=0, **{"max_prompt_length": 40, **kwargs})


def test_long_prompts_are_dropped_and_counted(tokenizer):
    result, dropped = rows(tokenizer)
    assert dropped == 1
    assert not any("long" in row["question"] for row in result)
    with pytest.raises(InputError, match="none of 17 prompts has at most max_prompt_length = 2"):
        rows(tokenizer, max_prompt_length=2)


def test_a_prompts_own_prefill_counts_towards_its_length(tokenizer):
    prompts = [{"prompt": f"p{n}", "category": "harmful", "prefill": "so.\n" * 40 * n} for n in range(2)]
    found, dropped = training_rows(tokenizer, prompts, length=2, seed=0, max_prompt_length=40)
    assert dropped == 1 and {row["question"] for row in found} == {"p0"}


def test_recap_prefills_with_reasonings_that_fit_and_counts_where_none_does(tokenizer, caplog):
    recaps = [{"prompt": "q", "reasoning": text} for text in ("so.\n" * 40, "plan.")]
    found, _ = rows(tokenizer, recap_share=1.0, recap_reasonings=recaps)
    assert {row["prefill"] for row in found if row["category"] == "harmful"} == {"plan.\n"}
    assert "RECAP" not in caplog.text
    found, _ = rows(tokenizer, recap_share=1.0, recap_reasonings=recaps[:1])
    assert {row["prefill"] for row in found} == {""}
    assert "8 of 8 harmful rows that RECAP prefills stay as they are" in caplog.text


def test_a_prompt_and_a_completion_beyond_the_models_positions_are_refused(tokenizer):
    found, _ = rows(tokenizer)
    longest = max(len(tokenizer(row["prompt"])["input_ids"]) for row in found)
    check_context(tokenizer, found, None, 1000)
    check_context(tokenizer, found, longest + 10, 10)
    told = rf"max_completion_length = 11 and .* {longest} tokens .* {longest + 10} positions"
    with pytest.raises(InputError, match=told):
        check_context(tokenizer, found, longest + 10, 11)
    check_context(tokenizer, found, longest + 10, 5, borrows=True)
    with pytest.raises(InputError, match="max_completion_length = 6, twice with a borrowed reasoning,"):
        check_context(tokenizer, found, longest + 10, 6, borrows=True)


def test_half_of_the_harmful_prompts_are_prefilled_with_harmful_reasoning(tokenizer):
    recaps = [{"prompt": "p0", "reasoning": "own.\nplan.\n"}, {"prompt": "q", "reasoning": "other."}]
    result, _ = rows(tokenizer, recap_share=0.5, recap_reasonings=recaps)
    prefilled = [row for row in result if row["prefill"]]
    assert len(prefilled) == 4 and {row["category"] for row in prefilled} == {"harmful"}  # of 8
    for row in prefilled:
        assert row["prefill"] in ("own.\nplan.\n", "other.\n")
        assert row["question"] != "p0" or row["prefill"] == "own.\nplan.\n"
        assert row["prompt"].endswith("<think>\n" + row["prefill"])
    assert all(row["prompt"].endswith("<think>\n") for row in result if not row["prefill"])
    with pytest.raises(InputError, match="recap_share > 0 needs"):
        rows(tokenizer, recap_share=0.5)


def test_a_rows_own_prefill_begins_its_completion(tokenizer):
    prompts = [{"prompt": f"p{n}", "category": "harmful", "prefill": "so.\n" if n else ""} for n in range(2)]
    found, _ = training_rows(tokenizer, prompts, length=2, seed=0, max_prompt_length=40)
    assert {row["question"]: row["prefill"] for row in found} == {"p0": "", "p1": "so.\n"}
    assert all(row["prompt"].endswith("<think>\n" + row["prefill"]) for row in found)
