"""Tiny models built from scratch: a byte-level BPE tokenizer and a Llama- or Qwen2-style causal model.

What comes out is an ordinary model and tokenizer of transformers, so that a stage which takes one takes any.
`<think>` and `</think>` are ordinary text, as for most real tokenizers: several tokens, unless the BPE merges
them. Nothing here is trained but the tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from sear_core.errors import InputError

PAD, END, USER, ASSISTANT = SPECIALS = ("<|pad|>", "<|end|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_bpe(texts: Iterable[str], vocab_size: int, specials: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text.encode("utf-8", "replace").decode() for text in texts), trainer)
    return tokenizer


def build_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on the texts; the same texts give the same tokenizer.

    Every string can be encoded. The vocabulary has at most `vocab_size` entries, fewer where the texts
    have no more pairs to merge. Raises InputError where it cannot hold the 256 bytes and 4 special tokens.
    """
    if vocab_size < 256 + len(SPECIALS):
        raise InputError(
            f"vocab_size {vocab_size}: expected at least {256 + len(SPECIALS)} (bytes, special tokens)"
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=train_bpe(texts, vocab_size, list(SPECIALS)),
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_causal_lm(
    architecture: str,
    vocab_size: int,
    hidden_size: int,
    layers: int,
    heads: int,
    max_positions: int,
    seed: int,
    *,
    pad_token_id: int = 0,
    eos_token_id: int = 1,
) -> PreTrainedModel:
    """A randomly initialised causal model with tied embeddings, in float32; the seed decides every weight.

    `architecture` is "llama" or "qwen2"; the feed-forward width is 8/3 of `hidden_size`, to the next multiple
    of 32, as Llama's. The caller's random state is left as it was. Raises InputError for another architecture
    or odd head sizes.
    """
    classes: dict[str, tuple[Any, Any]] = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    }
    if architecture not in classes:
        raise InputError(f"architecture {architecture!r}: expected one of {sorted(classes)}")
    if hidden_size % (2 * heads):
        raise InputError(f"hidden_size {hidden_size}: expected a multiple of 2 × heads ({heads})")
    config_class, model_class = classes[architecture]
    config = config_class(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=32 * math.ceil(hidden_size * 8 / 3 / 32),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=max_positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=eos_token_id,
        pad_token_id=pad_token_id,
        use_cache=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_class(config).float()


def build_tiny(
    texts: Iterable[str],
    *,
    architecture: str = "llama",
    vocab_size: int = 1024,
    hidden_size: int = 128,
    layers: int = 4,
    heads: int = 4,
    max_positions: int = 512,
    seed: int = 0,
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Tokenizer trained on the texts and a model of its vocabulary's size."""
    tokenizer = build_tokenizer(texts, vocab_size)
    model = build_causal_lm(
        architecture, len(tokenizer), hidden_size, layers, heads, max_positions, seed,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return model, tokenizer
