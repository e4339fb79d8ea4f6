from collections import Counter

import pytest

from sear_core.chat_format import render_completion
from sear_core.errors import InputError
from sear_core.schema import TABLES
from sear_core.warm_start.traces import COMPLIES, REFUSALS, template_traces


def _prompts(category: str, n: int) -> list[dict]:
    return [
        {"id": f"{category}{i}", "prompt": f"prompt {i}", "category": category, "source": "s", "slice": "",
         "split": "train"}
        for i in range(n)
    ]  # fmt: skip


def test_rows_have_the_schemas_columns_and_distinct_ids():
    rows = template_traces(_prompts("harmful", 10), 3, seed=0)
    assert len(rows) == 30 == len({row["id"] for row in rows})
    assert all(set(row) == set(TABLES["warm_start"].names) for row in rows)
    assert {row["kind"] for row in rows} == {"trace"}


def test_a_row_depends_on_its_prompt_and_the_seed_alone():
    prompts = _prompts("ambiguous", 20)
    everything = template_traces(prompts, 2, seed=1)
    assert template_traces(prompts[7:8], 2, seed=1) == everything[14:16]
    assert template_traces(prompts, 2, seed=2) != everything


@pytest.mark.parametrize("category", ["harmful", "harmless", "ambiguous"])
def test_both_answers_occur_in_about_the_stated_share(category):
    rows = template_traces(_prompts(category, 500), 2, seed=0)
    complied = Counter(row["answer"] not in REFUSALS for row in rows)[True] / 1000
    assert abs(complied - COMPLIES[category]) < 0.05  # three standard errors: 3 · sqrt(.25 / 1000) = .047


def test_a_known_answer_is_used_where_the_trace_complies():
    rows = template_traces(_prompts("harmless", 20), 1, seed=0, answers={"prompt 3": "Forty-two."})
    answers = {row["prompt"]: row["answer"] for row in rows}
    assert answers["prompt 3"] in ("Forty-two.", *REFUSALS)
    assert "Forty-two." in {
        row["answer"] for row in template_traces(_prompts("harmless", 4), 5, 0, {"prompt 3": "Forty-two."})
    }


def test_a_trace_makes_a_well_formed_completion():
    for row in template_traces(_prompts("harmful", 50), 1, seed=0):
        assert render_completion(row["reasoning"], row["answer"]).count("</think>") == 1
        assert 3 <= len(row["reasoning"].splitlines()) <= 8


def test_test_rows_and_unknown_categories_are_refused():
    with pytest.raises(InputError, match="harmful0 is of split 'test'"):
        template_traces([{**_prompts("harmful", 1)[0], "split": "test"}], 1, seed=0)
    with pytest.raises(InputError, match="category 'odd'"):
        template_traces(_prompts("odd", 1), 1, seed=0)
