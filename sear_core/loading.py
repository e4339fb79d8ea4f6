"""Loading tokenizers and models from a directory or a hub name: safetensors only, no code of the model's own.

A directory is checked before transformers sees it, so that what is missing is named. Code that comes with a
model runs only where the caller passes `trust_remote_code`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sear_core.errors import InputError
from sear_core.model_directory import check_model_directory

logger = logging.getLogger(__name__)

# For models that come without one.
PLAIN_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'].capitalize() + ': ' + message['content'] + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"
)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def _local(path: str) -> str:
    return str(Path(path).expanduser()) if path.startswith("~") else path


def load_tokenizer(
    path: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """A tokenizer with end-of-sequence and padding tokens and a chat template.

    Where the template is missing, a plain `User: … Assistant:` one is set and a warning logged; where the
    padding token is missing, the end-of-sequence token serves. Raises InputError as `check_model_directory`,
    where transformers cannot load it, and where it has no end-of-sequence token.
    """
    check_model_directory(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            _local(path), revision=revision, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(f"{path}: its tokenizer cannot be loaded: {_first_line(error)}") from error
    if tokenizer.eos_token is None:
        raise InputError(f"{path}: its tokenizer has no end-of-sequence token; a completion could never end")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if not tokenizer.chat_template:
        logger.warning(
            "%s: its tokenizer has no chat template; a plain 'User: … Assistant:' one is set", path
        )
        tokenizer.chat_template = PLAIN_CHAT_TEMPLATE
    tokenizer.padding_side = "left"
    return tokenizer


def load_model(
    path: str,
    auto_class: Any = AutoModelForCausalLM,
    *,
    dtype: str = "float32",
    revision: str | None = None,
    trust_remote_code: bool = False,
    **config: Any,
) -> Any:
    """A model of the given auto class; `config` overrides entries of the model's config (say num_labels=1).

    Raises InputError as `check_model_directory`, for an unknown dtype, and where transformers cannot load it.
    """
    check_model_directory(path)
    if dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r}: expected one of {sorted(DTYPES)}")
    try:
        settings = AutoConfig.from_pretrained(
            _local(path), revision=revision, trust_remote_code=trust_remote_code
        )
        for name, value in config.items():
            setattr(settings, name, value)
        return auto_class.from_pretrained(
            _local(path), config=settings, dtype=DTYPES[dtype], revision=revision,
            trust_remote_code=trust_remote_code, use_safetensors=True,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(f"{path}: its model cannot be loaded: {_first_line(error)}") from error


def load_causal_lm(
    path: str, *, dtype: str = "float32", revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedModel:
    """`load_model` for a causal language model."""
    return load_model(path, dtype=dtype, revision=revision, trust_remote_code=trust_remote_code)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
