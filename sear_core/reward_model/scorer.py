"""A causal model with one scalar head: per token (harm), or per sequence (helpfulness)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from sear_core.loading import load_model, load_tokenizer
from sear_core.tiny_model import build_causal_lm, build_tokenizer

AUTO_CLASSES: dict[str, Any] = {
    "tokens": AutoModelForTokenClassification,
    "sequence": AutoModelForSequenceClassification,
}


def build_scorer(
    head: str,
    texts: Sequence[str],
    *,
    model_path: str | None,
    revision: str | None,
    trust_remote_code: bool,
    dtype: str,
    architecture: str,
    vocab_size: int,
    hidden_size: int,
    layers: int,
    heads: int,
    max_positions: int,
    seed: int,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(model, tokenizer) with a fresh head of one logit and no dropout; the seed decides all that is random.

    `head` is "tokens" or "sequence". `model_path` names a directory or hub model whose body and tokenizer are
    taken; None builds both, the tokenizer from `texts`. Raises InputError as `sear_core.loading`.
    """
    auto_class = AUTO_CLASSES[head]
    options: dict[str, Any] = {"num_labels": 1, "classifier_dropout": 0.0}
    set_seed(seed)
    if model_path is not None:
        common: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        tokenizer = load_tokenizer(model_path, **common)
        model = load_model(model_path, auto_class, dtype=dtype, **common, **options)
    else:
        tokenizer = build_tokenizer(texts, vocab_size)
        config = build_causal_lm(
            architecture, len(tokenizer), hidden_size, layers, heads, max_positions, seed,
            pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        ).config  # fmt: skip
        for name, value in options.items():
            setattr(config, name, value)
        torch.manual_seed(seed)
        model = auto_class.from_config(config).float()
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer
