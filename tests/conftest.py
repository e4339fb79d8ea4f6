"""What tests of every floor share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # several processes: two with two threads each run many times slower
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Qwen2.5-Instruct's template without its branch for tools.
CHATML_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. "
    "You are a helpful assistant.<|im_end|>\n' }}"
    "{% endif %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _build_qwen2_directory(
    folder: Path,
    texts: Iterable[str],
    *,
    vocab_size: int = 400,
    hidden_size: int = 32,
    layers: int = 2,
    heads: int = 4,
    max_positions: int = 512,
    seed: int = 0,
) -> Path:
    """A model directory like Qwen2.5-Instruct's in all but size: tokenizer class, special tokens, ChatML."""
    from transformers import Qwen2Tokenizer

    from sear_core.tiny_model import build_causal_lm, train_bpe

    bpe = train_bpe(texts, vocab_size - 3, [])
    merges = json.loads(bpe.to_str())["model"]["merges"]
    tokenizer = Qwen2Tokenizer(
        vocab=bpe.get_vocab(),
        merges=[tuple(pair) for pair in merges],  # type: ignore[misc]
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    tokenizer.chat_template = CHATML_TEMPLATE
    model = build_causal_lm(
        "qwen2", len(tokenizer), hidden_size, layers, heads, max_positions, seed,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def build_qwen2_directory() -> Callable[..., Path]:
    return _build_qwen2_directory
