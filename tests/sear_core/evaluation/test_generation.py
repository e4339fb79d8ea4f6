"""Generation with a tiny model: batches change nothing, what is finished is kept, odd text goes through."""

import pytest
import torch
from transformers import GenerationConfig

from sear_core.chat_format import render_prompt
from sear_core.evaluation.generation import (
    Generated,
    Request,
    clean,
    end_tokens,
    generate,
    generate_batch,
    row_seed,
)
from sear_core.tiny_model import build_tiny

TEXTS = [f"how do i open the {word} of number {n}?" for n in range(6) for word in ("door", "jar", "tin")]

ENDS = range(1, 40)


@pytest.fixture(scope="module")
def tiny():
    model, tokenizer = build_tiny(TEXTS, vocab_size=300, hidden_size=32, layers=2, heads=4, seed=3)
    # many ways to end, so that completions of a random model are of many lengths
    model.generation_config.eos_token_id = list(ENDS)
    return model.eval(), tokenizer


def requests(tokenizer, count=18, seed=0):
    return [
        Request(f"r{i}", render_prompt(tokenizer, text, "so " * (i % 4)), row_seed(seed, f"r{i}", 0))
        for i, text in enumerate(TEXTS[:count])
    ]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_prompt_gets_the_same_completion_alone_and_in_any_batch(tiny, temperature):
    model, tokenizer = tiny
    batch = requests(tokenizer)
    settings = {"max_new_tokens": 24, "temperature": temperature}
    together = generate_batch(model, tokenizer, batch, **settings)
    alone = [generate_batch(model, tokenizer, [request], **settings)[0] for request in batch]
    assert together == alone
    assert generate_batch(model, tokenizer, batch[::-1], **settings) == together[::-1]
    if temperature:
        assert len({result.n_tokens for result in together}) > 3  # rows did leave the batch at many times
        assert any(result.ended for result in together)


def test_a_greedy_completion_is_transformers_own(tiny):
    model, tokenizer = tiny
    request = requests(tokenizer)[0]
    ids = tokenizer(request.text, return_tensors="pt")["input_ids"]
    expected = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    result = generate_batch(model, tokenizer, [request], max_new_tokens=12, temperature=0.0)[0]
    assert result.text == tokenizer.decode(expected[: len(expected) - result.ended])
    assert result.n_tokens == len(expected)


def test_sampling_draws_from_the_softmax_of_logits_over_temperature(tiny):
    model, tokenizer = tiny
    text = requests(tokenizer)[0].text
    batch = [Request(str(i), text, row_seed(5, str(i), 0)) for i in range(2000)]
    with torch.inference_mode():
        logits = model(tokenizer(text, return_tensors="pt")["input_ids"]).logits[0, -1]
    p_end = torch.softmax(logits / 0.7, -1)[list(ENDS)].sum().item()
    results = generate_batch(model, tokenizer, batch, max_new_tokens=1, temperature=0.7)
    share = sum(result.ended for result in results) / 2000
    assert share == pytest.approx(p_end, abs=4 * (p_end * (1 - p_end) / 2000) ** 0.5 + 1e-9)


def test_what_was_cut_off_by_the_limit_has_not_ended(tiny):
    model, tokenizer = tiny
    results = generate_batch(model, tokenizer, requests(tokenizer), max_new_tokens=3, temperature=1.0)
    assert all(result.n_tokens == 3 for result in results if not result.ended)
    assert {result.ended for result in results} == {True, False}


def test_the_models_own_repetition_penalty_is_not_used_and_stays_as_it_was(tiny):
    model, tokenizer = tiny
    batch, settings = requests(tokenizer, 3), {"max_new_tokens": 16, "temperature": 0.0}
    plain = generate_batch(model, tokenizer, batch, **settings)
    own = model.generation_config
    try:
        model.generation_config = GenerationConfig(repetition_penalty=9.0, eos_token_id=list(ENDS))
        assert generate_batch(model, tokenizer, batch, **settings) == plain
        assert model.generation_config.repetition_penalty == 9.0
    finally:
        model.generation_config = own


def test_end_tokens_are_the_tokenizers_and_the_models_but_none_outside_of_the_vocabulary(tiny):
    model, tokenizer = tiny
    own = model.generation_config
    try:
        model.generation_config = GenerationConfig(eos_token_id=[7, 10**6])
        assert end_tokens(model, tokenizer) == [tokenizer.eos_token_id, 7]
    finally:
        model.generation_config = own


def test_nul_bytes_and_lone_surrogates_become_replacement_characters(tiny):
    assert clean("a\ud800b\0c \U0001f600") == "a\ufffdb\ufffdc \U0001f600"
    model, tokenizer = tiny
    odd = Request("odd", "a\ud800b\0c")
    assert generate_batch(model, tokenizer, [odd], max_new_tokens=2, temperature=0.0)[0].id == "odd"


def chunked(tiny, folder, key="k", temperature=1.0, progress=None):
    model, tokenizer = tiny
    return generate(
        model, tokenizer, requests(tokenizer), folder=folder, model_key=key, batch_size=4,
        max_new_tokens=12, temperature=temperature, progress=progress,
    )  # fmt: skip


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_run_that_lost_half_of_its_chunks_generates_these_alone_and_ends_with_the_same_bytes(
    tiny, tmp_path
):
    counts: list[int] = []
    first = chunked(tiny, tmp_path, progress=counts.append)
    assert counts == [4, 4, 4, 4, 2] and [result.id for result in first] == [f"r{i}" for i in range(18)]
    before = contents(tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in sorted(tmp_path.iterdir())[::2]}
    for path in sorted(tmp_path.iterdir())[1::2]:
        path.unlink()
    assert chunked(tiny, tmp_path) == first
    assert contents(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_finished_chunk_is_read_not_generated(tiny, tmp_path, monkeypatch):
    first = chunked(tiny, tmp_path)
    monkeypatch.setattr("sear_core.evaluation.generation.generate_batch", None)
    assert chunked(tiny, tmp_path) == first


def test_chunks_of_another_model_or_setting_are_not_believed(tiny, tmp_path):
    chunked(tiny, tmp_path)
    chunked(tiny, tmp_path, key="other weights")
    chunked(tiny, tmp_path, temperature=0.5)
    assert len(list(tmp_path.iterdir())) == 3 * 5


def test_a_damaged_chunk_is_generated_anew(tiny, tmp_path):
    first = chunked(tiny, tmp_path)
    before = contents(tmp_path)
    next(tmp_path.iterdir()).write_bytes(b"PAR1 broken")
    assert chunked(tiny, tmp_path) == first
    assert contents(tmp_path) == before


def test_a_results_hand_over_is_a_frozen_object():
    with pytest.raises(AttributeError):
        Generated("a", "b", True, 1).text = "c"
