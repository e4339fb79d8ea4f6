"""Where models come from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tasks.config.base import Section


class TinyModelConfig(Section):
    """A causal language model built from scratch, with a byte-level BPE tokenizer trained on the warm start."""

    architecture: Literal["llama", "qwen2"] = "llama"
    vocab_size: int = Field(1024, ge=300)
    hidden_size: int = Field(128, gt=0)
    layers: int = Field(4, gt=0)
    heads: int = Field(4, gt=0)
    max_positions: int = Field(512, ge=32)

    @model_validator(mode="after")
    def _heads_divide(self) -> TinyModelConfig:
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size {self.hidden_size} must be a multiple of 2 × heads ({self.heads})")
        return self


class ModelConfig(Section):
    """Where a model comes from: a local directory or hub name, or built tiny."""

    path: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    tiny: TinyModelConfig = TinyModelConfig()


class LoraConfig(Section):
    r: int = Field(16, gt=0)
    alpha: int = Field(32, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"
