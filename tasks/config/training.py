"""Warm start and reward models."""

from __future__ import annotations

from pydantic import Field, model_validator

from tasks.config.base import Section
from tasks.config.model import LoraConfig, ModelConfig


class WarmStartConfig(Section):
    """Supervised fine-tuning on reasoning traces, deliberately light (TARS, arXiv 2507.00971 §3)."""

    model: ModelConfig = ModelConfig()
    train: bool = True  # False: the model is taken as it is
    epochs: float = Field(3, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    batch_size: int = Field(32, gt=0)
    gradient_accumulation: int = Field(1, gt=0)
    max_length: int = Field(256, gt=0)
    bf16: bool = False
    lora: LoraConfig | None = None
    logging_steps: int = Field(10, gt=0)
    save_every: int | None = Field(None, gt=0)  # steps between checkpoints; None: one an epoch


class HarmConfig(Section):
    epochs: float = Field(3, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    batch_size: int = Field(64, gt=0)
    max_length: int = Field(256, gt=0)
    min_auroc: float = Field(0.8, ge=0, le=1)  # gate, on held-out rows
    # negatives added to the step rows, in shares of the harmful ones: their words shuffled, and behind another prompt
    scrambled: float = Field(0.0, ge=0)
    mismatched: float = Field(0.0, ge=0)
    bf16: bool = False
    save_every: int | None = Field(None, gt=0)  # steps between checkpoints; None: one an epoch


class HelpfulnessConfig(Section):
    epochs: float = Field(2, gt=0)
    learning_rate: float = Field(5e-4, gt=0)
    batch_size: int = Field(64, gt=0)
    max_length: int = Field(256, gt=0)
    min_pair_accuracy: float = Field(0.7, ge=0, le=1)  # gate, on held-out pairs
    bf16: bool = False
    save_every: int | None = Field(None, gt=0)


class RewardModelConfig(Section):
    model: ModelConfig = ModelConfig()
    # begin from the trained warm start rather than from `model`: it knows the words and can match an answer
    # with its prompt, so that it is harder to exploit
    from_warm_start: bool = False
    harm: HarmConfig = HarmConfig()
    helpfulness: HelpfulnessConfig = HelpfulnessConfig()
    gate: bool = True  # stop before the policy's budget is spent
    lora: LoraConfig | None = None

    @model_validator(mode="after")
    def _one_start(self) -> RewardModelConfig:
        if self.from_warm_start and self.model.path is not None:
            raise ValueError(
                f"model.path {self.model.path!r} and from_warm_start exclude each other: the reward models begin "
                f"from one of them"
            )
        return self
