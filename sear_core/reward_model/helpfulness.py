"""The helpfulness model: Bradley–Terry on preference pairs, P(a ≻ b | x) = σ(R(x, a) − R(x, b)).

TRL's RewardTrainer, unchanged, on tokenised pairs: a sequence-classification head with one logit, read at the
end-of-sequence token of `<chat prompt><answer>\\n a`. R is unbounded, and only differences for one prompt
mean anything. It sees answers alone, never reasoning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedTokenizerBase,
    TrainerCallback,
)
from trl import RewardConfig, RewardTrainer

from sear_core.loading import load_model, load_tokenizer
from sear_core.reward_model.calibration import (
    expected_calibration_error,
    fit_temperature,
    reliability,
    sigmoid,
)
from sear_core.reward_model.encoding import length_batches, pad_right
from sear_core.reward_model.harm_model import SETTINGS, answer_jobs, load_settings
from sear_core.reward_model.scorer import build_scorer
from sear_core.trainer_tools import (
    common_arguments,
    finish,
    logged_loss,
    lora_config,
    run_trainer,
    split_rows,
    write_json,
)


class HelpfulnessModel:
    """R(x, a) with the model's own tokenizer.

    `max_length` (tokens) is the training length: prompt and answer take at most half of it each; what is
    longer has its middle cut out. R is the head's logit over `temperature`, so that σ of a difference is a
    probability that can be believed.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int,
        temperature: float = 1.0,
        batch_tokens: int = 16384,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.temperature = temperature
        self.batch_tokens = batch_tokens

    @classmethod
    def load(cls, path: str | Path, device: str | None = None, dtype: str = "float32") -> HelpfulnessModel:
        """Read a directory that `train_helpfulness_model` wrote; raises InputError where it is none."""
        settings = load_settings(path, "helpfulness")
        model = load_model(str(path), AutoModelForSequenceClassification, dtype=dtype)
        model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(
            model, load_tokenizer(str(path)), max_length=settings["max_length"],
            temperature=settings.get("temperature", 1.0),
        )  # fmt: skip

    @torch.inference_mode()
    def score(self, prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
        """R of each answer to its prompt, in the order of the input."""
        assert len(prompts) == len(answers), f"{len(prompts)} prompts, {len(answers)} answers"
        sequences = [ids for ids, _ in answer_jobs(self.tokenizer, prompts, answers, self.max_length)]
        scores = [0.0] * len(sequences)
        for batch in length_batches([len(ids) for ids in sequences], self.batch_tokens):
            chosen = [sequences[i] for i in batch]
            ids = torch.tensor(pad_right(chosen, self.tokenizer.pad_token_id), device=self.model.device)
            mask = torch.tensor(pad_right([[1] * len(s) for s in chosen], 0), device=self.model.device)
            rewards = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, 0]
            for i, value in zip(batch, rewards.float().tolist(), strict=True):
                scores[i] = value / self.temperature
        return scores


def train_helpfulness_model(
    *,
    rows: Sequence[dict],
    out: Path,
    model_path: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    dtype: str = "float32",
    architecture: str = "llama",
    vocab_size: int = 1024,
    hidden_size: int = 96,
    layers: int = 2,
    heads: int = 4,
    max_positions: int = 512,
    epochs: float = 2,
    learning_rate: float = 5e-4,
    batch_size: int = 64,
    gradient_accumulation: int = 1,
    max_length: int = 256,
    bf16: bool = False,
    gradient_checkpointing: bool = False,
    lora: dict[str, Any] | None = None,
    seed: int = 0,
    logging_steps: int = 10,
    save_every: int | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    resume: bool = True,
) -> dict[str, float]:
    """Train on `preferences` rows (splits train and validation); write the model directory `out`.

    `model_path` None: tokenizer and model are built from the rows. Returns train_loss, train_rows and, on the
    validation pairs, `pairs.n`, `pairs.accuracy` (a tie counts one half), `pairs.margin` (mean R difference),
    `pairs.temperature`, `pairs.ece_before` and `pairs.ece` (of σ(margin); the temperature is fitted on every second
    pair, errors are taken on the others); NaN without such pairs. Raises InputError without training rows.
    """
    out = Path(out)
    training, held_out = split_rows(rows, "preferences")
    texts = [f"{row['prompt']}\n<answer>\n{row[side]}" for row in training for side in ("chosen", "rejected")]
    model, tokenizer = build_scorer(
        "sequence", texts, model_path=model_path, revision=revision, trust_remote_code=trust_remote_code,
        dtype=dtype, architecture=architecture, vocab_size=vocab_size, hidden_size=hidden_size, layers=layers,
        heads=heads, max_positions=max_positions, seed=seed,
    )  # fmt: skip
    prompts = [row["prompt"] for row in training]
    pairs = {
        f"{side}_ids": [
            ids for ids, _ in answer_jobs(tokenizer, prompts, [row[side] for row in training], max_length)
        ]
        for side in ("chosen", "rejected")
    }
    trainer = RewardTrainer(
        model=model,
        args=RewardConfig(
            **common_arguments(
                out, epochs=epochs, learning_rate=learning_rate, batch_size=batch_size,
                gradient_accumulation=gradient_accumulation, seed=seed, logging_steps=logging_steps,
                bf16=bf16, gradient_checkpointing=gradient_checkpointing, save_every=save_every,
            ),
            max_length=None,  # cut above; TRL would leave long pairs out
            # Without it R drifts by a constant that no pair sees (arXiv 2312.09244).
            center_rewards_coefficient=0.01,
        ),
        train_dataset=Dataset.from_dict(pairs),
        processing_class=tokenizer,
        callbacks=list(callbacks),
        peft_config=lora_config("SEQ_CLS", head=["score"], **lora) if lora else None,
    )  # fmt: skip
    run_trainer(trainer, out, resume=resume)
    settings = {"kind": "helpfulness", "max_length": max_length, "temperature": 1.0}
    model = finish(trainer, tokenizer, out, out, {SETTINGS: settings})
    metrics, tables = measure_pairs(HelpfulnessModel(model, tokenizer, max_length=max_length), held_out)
    settings["temperature"] = metrics["pairs.temperature"]
    if trainer.is_world_process_zero():
        write_json(out / SETTINGS, settings)
        write_json(out / "calibration.json", tables)
    return {"train_loss": logged_loss(trainer), "train_rows": float(len(training)), **metrics}


def measure_pairs(
    model: HelpfulnessModel, rows: Sequence[dict]
) -> tuple[dict[str, float], dict[str, list[dict[str, float]]]]:
    """(metrics, reliability table) on preference rows, from a model of temperature 1."""
    prompts = [row["prompt"] for row in rows]
    chosen, rejected = (model.score(prompts, [row[side] for row in rows]) for side in ("chosen", "rejected"))
    margins = np.subtract(chosen, rejected)
    temperature = pair_temperature(margins[::2])
    others = margins[1::2]
    metrics = pair_metrics(margins) | {
        "pairs.temperature": temperature,
        "pairs.ece_before": pair_metrics(others)["pairs.ece"],
        "pairs.ece": pair_metrics(others / temperature)["pairs.ece"],
    }
    return metrics, {"pairs": reliability(sigmoid(np.abs(others) / temperature), _right(others))}


def pair_temperature(margins: Sequence[float] | np.ndarray) -> float:
    """The T that minimises the mean cross-entropy of σ(margin / T) against "chosen", but no less than 1.

    A model that orders all of a few pairs rightly would be made ever surer of itself (our choice).
    """
    return max(1.0, fit_temperature(margins, np.ones(len(margins))))


def pair_metrics(margins: Sequence[float] | np.ndarray) -> dict[str, float]:
    """From margins R(chosen) − R(rejected): n, accuracy (ties one half), mean margin, and calibration error.

    The calibration error is that of the confidence max(p, 1 − p), p = σ(margin), in naming the right one.
    """
    m = np.asarray(margins, dtype=np.float64)
    right = _right(m)
    return {
        "pairs.n": float(len(m)),
        "pairs.accuracy": float(right.mean()) if len(m) else float("nan"),
        "pairs.margin": float(m.mean()) if len(m) else float("nan"),
        "pairs.ece": expected_calibration_error(sigmoid(np.abs(m)), right),
    }


def _right(margins: np.ndarray) -> np.ndarray:
    """1 where the chosen one is preferred, 0 where the other is, one half for a tie."""
    return np.where(margins > 0, 1.0, np.where(margins < 0, 0.0, 0.5))
