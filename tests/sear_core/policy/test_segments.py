import time

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from sear_core.policy.segments import (
    ANSWER,
    decode_ids,
    first_tokens,
    parse_completion,
    split_steps,
    token_players,
)
from sear_core.tiny_model import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    # Trained on text without the tag's letters together: "</think>" is several tokens. ".</" is frequent, so
    # that a full stop merges with the tag's beginning.
    return build_tokenizer(["a.</b c.</d one two three"] * 50, 290)


class SlowTokenizer:
    """The same tokenizer without a byte-level decoder to look at."""

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer

    def decode(self, ids, **kwargs):
        return self._tokenizer.decode(ids, **kwargs)


def test_lines_are_steps_and_cover_the_reasoning():
    steps = split_steps("\nfirst.\n\nsecond one. still.\n", max_steps=8)
    assert [s.text for s in steps] == ["first.", "second one. still."]
    assert [(s.start, s.end) for s in steps] == [(0, 9), (9, 28)]


def test_a_single_line_is_split_into_sentences():
    assert [s.text for s in split_steps("One. Two! Three", 8)] == ["One.", "Two!", "Three"]


def test_beyond_the_cap_the_rest_merges_into_the_last_step():
    steps = split_steps("a\nb\nc\nd", max_steps=2)
    assert [s.text for s in steps] == ["a", "b\nc\nd"]


def test_blank_reasoning_has_no_steps():
    assert split_steps(" \n\n", 4) == []


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("z\na", True),  # never closed
        ("z</think>a</think>b", True),  # closed twice
        ("z</think>a", False),  # cut off
        ("z</think> \n", True),  # empty answer
        ("z</think> ...", True),  # no letter or digit
        ("<think>z</think>a", True),  # opened again
        ("z</think>a\ufffd", True),  # undecodable
    ],
)
def test_malformed_completions_are_told(text, ended):
    assert not parse_completion(text, ended).well_formed


def test_a_well_formed_completion_is_taken_apart():
    completion = parse_completion("go on.\n</think>\nYes. ", ended=True)
    assert completion.well_formed
    assert (completion.reasoning, completion.answer, completion.close) == ("go on.\n", "Yes.", 7)


def players_by_token(tokenizer, text, prefill="", ids=None):
    ids = tokenizer(text)["input_ids"] if ids is None else ids
    completion = parse_completion(prefill + text, ended=True)
    steps = split_steps(completion.reasoning, 8)
    players = token_players(tokenizer, [*ids, tokenizer.eos_token_id], text, completion, steps, prefill)
    return [decode_ids(tokenizer, [i]) for i in ids], players


def test_every_token_that_overlaps_the_tag_belongs_to_the_answer(tokenizer):
    tokens, players = players_by_token(tokenizer, "one\ntwo.</think>a")
    tag = next(n for n, token in enumerate(tokens) if "<" in token)
    assert tokens[tag].startswith(".<")  # merged with the reasoning's full stop
    assert len(tokens) - tag > 3  # the tag is several tokens
    newline = tokens.index("\n")
    assert players[: newline + 1] == [0] * (newline + 1)
    assert players[newline + 1 : tag] == [1] * (tag - newline - 1)
    assert players[tag:] == [ANSWER] * (len(tokens) - tag + 1)  # end of sequence included


def test_multi_byte_characters_do_not_shift_the_offsets(tokenizer):
    tokens, players = players_by_token(tokenizer, "é🙂é\n🙂\n</think>né")
    # é: 2 bytes, 🙂: 4 bytes, one token per byte; step 0 is 2+4+2+1 newline = 9 tokens, step 1 is 4+1 = 5
    assert players[:14] == [0] * 9 + [1] * 5
    assert players[14] == ANSWER and "<" in tokens[14]


def test_byte_lengths_and_bisection_agree(tokenizer):
    text = "one é two.\nthree 🙂🙂 a\n.</think>\nb c"
    ids = tokenizer(text)["input_ids"]
    offsets = list(range(len(text)))
    fast = first_tokens(tokenizer, ids, text, offsets)
    assert fast == first_tokens(SlowTokenizer(tokenizer), ids, text, offsets)
    assert fast[0] == 0 and fast[-1] == len(ids) - 1


def test_sampled_ids_with_invalid_bytes_fall_back_to_bisection(tokenizer):
    half = tokenizer("é")["input_ids"][:1]  # the first of two bytes
    ids = [*half, *tokenizer("a\nb\n</think>c")["input_ids"]]
    text = decode_ids(tokenizer, ids)
    assert text.startswith("\ufffda")
    _, players = players_by_token(tokenizer, text, ids=ids)
    assert players[:6] == [0, 0, 0, 1, 1, ANSWER]  # �, a, newline | b, newline | tag


@pytest.mark.parametrize("newline", ["\n", ""])
@pytest.mark.parametrize(
    "text",
    [
        "go on.\nbad 🙂</think>yes",
        "go 🙂\nbad\n</think>yes",
        "go on 🙂🙂</think>yes",
        "go.\n🙂 bad</think>yes",
        "go.\n本本 x</think>y",
    ],
)
def test_a_character_of_several_tokens_is_one_players_where_bytes_are_tokens(text, newline):
    """As in sentencepiece with byte fallback, where a newline, too, may be a byte."""
    vocabulary = [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary += [*f"abcdefghijklmnopqrstuvwxyz<>/. {newline}", "<unk>", "</s>"]
    places = {token: n for n, token in enumerate(vocabulary)}
    backend = Tokenizer(models.BPE(places, [], byte_fallback=True, unk_token="<unk>"))
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="</s>")
    ids = tokenizer(text)["input_ids"]
    assert decode_ids(tokenizer, ids) == text
    _, players = players_by_token(tokenizer, text, ids=ids)

    place, line = 0, 0
    for character in text[: text.index("</think>")]:
        size = 1 if character in places else len(character.encode())
        assert players[place : place + size] == [line] * size, character
        line += character == "\n"
        place += size
    assert set(players[place:]) == {ANSWER}


def test_retokenising_differently_does_not_matter(tokenizer):
    ids = [i for c in "one\n</think>two" for i in tokenizer(c)["input_ids"]]  # a token per character
    _, players = players_by_token(tokenizer, "one\n</think>two", ids=ids)
    assert players == [0] * 4 + [ANSWER] * 12  # 8 + 3 characters, end of sequence


def test_steps_that_lie_in_the_prefill_have_no_tokens(tokenizer):
    _, players = players_by_token(tokenizer, " b\nc\n</think>d", prefill="z\na")
    # steps z | a b | c: the completion begins in the second
    assert players[0] == 1
    assert sorted(set(players)) == [ANSWER, 1, 2]


def test_a_malformed_completion_is_the_answer_players_as_a_whole(tokenizer):
    _, players = players_by_token(tokenizer, "one two three")
    assert set(players) == {ANSWER}


@pytest.mark.parametrize("slow", [False, True])
def test_a_completion_of_4096_tokens_takes_no_time(tokenizer, slow):
    text = "a b c d e\n" * 700 + "</think>b"
    ids = tokenizer(text)["input_ids"]
    assert len(ids) > 4096
    completion = parse_completion(text, True)
    steps = split_steps(completion.reasoning, 64)
    start = time.process_time()
    players = token_players(SlowTokenizer(tokenizer) if slow else tokenizer, ids, text, completion, steps, "")
    assert time.process_time() - start < 5
    assert players.count(63) > 4096 // 2  # the rest of 700 lines
