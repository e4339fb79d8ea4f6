"""Exact match and perplexity against hand-computed values."""

import math
from decimal import Decimal

import pytest
import torch

from sear_core.chat_format import render_prompt
from sear_core.evaluation.capability import exact_match, final_number, perplexity
from sear_core.evaluation.suites import SuiteRow
from sear_core.tiny_model import build_tiny


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 + 4 = 7\n#### 7", "7"),
        ("so #### $1,250.00 in all, for 3 days", "1250"),
        ("first 12, then it is -3.50.", "-3.5"),
        ("it costs $18.", "18"),
        ("#### none of 3", "3"),
    ],
)
def test_the_final_number_is_the_one_behind_the_mark_else_the_last(text, number):
    assert final_number(text) == Decimal(number)


def test_an_answer_without_a_number_has_none():
    assert final_number("I don't know.") is None and final_number("") is None


def test_an_answer_is_right_where_its_number_is_the_references_or_its_text_where_that_has_none():
    reference = "2 * 9 = <<2*9=18>>18\n#### 18"
    assert exact_match("She makes 9 * 2 = $18 every day.", reference)
    assert exact_match("18.0", reference)
    assert not exact_match("18 of 20", reference) and not exact_match("eighteen", reference)
    assert exact_match(" Paris. ", "paris") and not exact_match("not Paris", "Paris")


@pytest.fixture(scope="module")
def tiny():
    return build_tiny(
        ["how many are two and two?", "it is four"] * 4, vocab_size=300, hidden_size=32, layers=2, heads=4
    )


def test_perplexity_is_of_the_references_tokens_alone_whatever_the_batch(tiny):
    model, tokenizer = tiny
    rows = [
        SuiteRow("a", "how many are two and two?", "harmless", reference="it is four"),
        SuiteRow("b", "how many?", "harmless", reference="two and two are four, as it is"),
        SuiteRow("c", "no reference", "harmful"),
    ]
    nats, tokens, size = 0.0, 0, 0
    for row in rows[:2]:
        head = tokenizer(render_prompt(tokenizer, row.prompt, "</think>\n"))["input_ids"]
        tail = tokenizer(row.reference, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logs = model(torch.tensor([head + tail])).logits[0].log_softmax(-1)
        nats -= sum(logs[len(head) - 1 + i, token].item() for i, token in enumerate(tail))
        tokens, size = tokens + len(tail), size + len(row.reference)
    for batch_size in (1, 2):
        found = perplexity(model, tokenizer, rows, batch_size)
        assert found["perplexity"][0] == pytest.approx(math.exp(nats / tokens), rel=1e-4)
        assert found["bits_per_byte"][0] == pytest.approx(nats / math.log(2) / size, rel=1e-4)
    low, high = found["perplexity"][1:]
    assert low <= found["perplexity"][0] <= high
    assert perplexity(model, tokenizer, rows[2:], 2) == {}


def test_a_reference_beyond_the_models_positions_is_left_out(tiny):
    model, tokenizer = tiny
    rows = [SuiteRow("a", "how many?", "harmless", reference="four " * 2_000)]
    assert perplexity(model, tokenizer, rows, 2) == {}
