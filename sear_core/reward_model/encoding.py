"""How reward models read text: token ids of a prompt with reasoning steps, or with an answer.

Every piece (prompt, each step, answer) is tokenised by itself and the ids are joined. So the ids of a prefix
z_1 … z_k are exactly a prefix of the ids of z_1 … z_K, for any tokenizer, and V_k is read at a known place.

    steps   <chat prompt><think>\\n | z_1\\n | z_2\\n | …   read at the last token of every piece: V_0, V_1, …
    answer  <chat prompt><answer>\\n a <end of sequence>       read at the last token
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from sear_core.chat_format import FORCED_PREFIX, render_prompt

ANSWER_MARK = "<answer>\n"  # sets an answer apart from a first step of reasoning


def clean(text: str) -> str:
    """The text with lone surrogates replaced by `?`, so that every string can be encoded."""
    return text.encode("utf-8", "replace").decode("utf-8")


def cut_middle(ids: list[int], limit: int) -> list[int]:
    """At most `limit` ids: the first and the last half, where there are more."""
    if len(ids) <= limit:
        return ids
    head = (limit + 1) // 2
    return ids[:head] + ids[len(ids) - (limit - head) :]


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], mark: str, limit: int
) -> list[list[int]]:
    """Ids of each chat prompt up to and with `mark`; beyond `limit` tokens the middle is cut out."""
    if not prompts:
        return []
    texts = [render_prompt(tokenizer, clean(prompt)).removesuffix(FORCED_PREFIX) + mark for prompt in prompts]
    return [cut_middle(list(ids), limit) for ids in tokenizer(texts)["input_ids"]]


def encode_steps(tokenizer: PreTrainedTokenizerBase, steps: Sequence[str]) -> list[list[int]]:
    """Ids of each step with its closing newline."""
    if not steps:
        return []
    ids: Any = tokenizer([clean(step) + "\n" for step in steps], add_special_tokens=False)["input_ids"]
    return [list(step) for step in ids]


def encode_answers(tokenizer: PreTrainedTokenizerBase, answers: Sequence[str], limit: int) -> list[list[int]]:
    """Ids of each answer with its end-of-sequence token; beyond `limit` tokens the middle is cut out."""
    if not answers:
        return []
    ids: Any = tokenizer([clean(answer) for answer in answers], add_special_tokens=False)["input_ids"]
    return [[*cut_middle(list(answer), limit - 1), tokenizer.eos_token_id] for answer in ids]


def pad_right(sequences: Sequence[Sequence[int]], value: int) -> list[list[int]]:
    """Sequences of one length; causal models read right-padded ones as they are."""
    width = max(len(sequence) for sequence in sequences)
    return [[*sequence, *[value] * (width - len(sequence))] for sequence in sequences]


def length_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Indices in batches of like length, each of at most `batch_tokens` padded tokens (or of one row)."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batches and (len(batches[-1]) + 1) * lengths[index] <= batch_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
