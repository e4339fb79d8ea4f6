"""The warm start: supervised fine-tuning on reasoning traces, deliberately light (TARS, arXiv 2507.00971 §3).

TRL's SFTTrainer, unchanged, on tokenised rows. Prompt and completion are tokenised apart and joined, for that
is what the policy meets when it samples: no token spans the border between `<think>\\n` and the reasoning.
The loss is on the completion alone. A row of kind "fact" is trained on in the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from sear_core.chat_format import render_completion, render_prompt
from sear_core.errors import InputError
from sear_core.loading import load_causal_lm, load_tokenizer
from sear_core.tiny_model import build_tiny
from sear_core.trainer_tools import (
    SameOrder,
    common_arguments,
    finish,
    logged_loss,
    lora_config,
    run_trainer,
    save_model,
    split_rows,
)

logger = logging.getLogger(__name__)
IGNORED = -100  # label of a token that carries no loss


class WarmStartTrainer(SameOrder, SFTTrainer):
    """TRL's, with one order of the rows for any number of processes."""


def train_warm_start(
    *,
    rows: Sequence[dict],
    out: Path,
    model_path: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    dtype: str = "float32",
    architecture: str = "llama",
    vocab_size: int = 1024,
    hidden_size: int = 128,
    layers: int = 4,
    heads: int = 4,
    max_positions: int = 512,
    train: bool = True,
    epochs: float = 3,
    learning_rate: float = 1e-3,
    batch_size: int = 32,
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
    """Fine-tune on `warm_start` rows (train and validation); write `out/model` and `out/history.json`.

    `model_path` is a directory or hub name; None builds a tiny model and tokenizer from the rows. `lora`
    holds r, alpha, dropout and target_modules; the adapter is merged on saving. `train=False` saves the
    model as it is. Lengths are in tokens; a completion beyond `max_length` is cut at its end and counted.

    Returns train_loss, eval_loss (validation rows; nats per completion token), train_rows, train_tokens
    (completion tokens of one epoch), truncated_rows, parameters. Raises InputError without usable rows.
    """
    out = Path(out)
    training, validation = split_rows(rows, "warm_start")
    set_seed(seed)
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    if model_path is None:
        model, tokenizer = build_tiny(
            _texts(training), architecture=architecture, vocab_size=vocab_size, hidden_size=hidden_size,
            layers=layers, heads=heads, max_positions=max_positions, seed=seed,
        )  # fmt: skip
    else:
        options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        tokenizer = load_tokenizer(model_path, **options)
        model = load_causal_lm(model_path, dtype=dtype, **options)
    parameters = float(model.num_parameters())
    if not train:
        save_model(model, tokenizer, out / "model", {})
        return {"parameters": parameters}

    examples, cut = encode_rows(training, tokenizer, max_length)
    if not examples:
        raise InputError(
            f"warm_start: every prompt is longer than max_length {max_length}; nothing to train on"
        )
    held_out, _ = encode_rows(validation, tokenizer, max_length)
    arguments = SFTConfig(
        **common_arguments(
            out, epochs=epochs, learning_rate=learning_rate, batch_size=batch_size,
            gradient_accumulation=gradient_accumulation, seed=seed, logging_steps=logging_steps, bf16=bf16,
            gradient_checkpointing=gradient_checkpointing, save_every=save_every,
        ),
        max_length=None,  # cut above, and counted
        packing=False,
        train_sampling_strategy="group_by_length",
    )  # fmt: skip
    trainer = WarmStartTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(examples),
        eval_dataset=Dataset.from_list(held_out) if held_out else None,
        processing_class=tokenizer,
        callbacks=list(callbacks),
        peft_config=lora_config("CAUSAL_LM", **lora) if lora else None,
    )
    run_trainer(trainer, out, resume=resume)
    metrics = {
        "train_loss": logged_loss(trainer),
        "train_rows": float(len(examples)),
        "train_tokens": float(sum(label != IGNORED for row in examples for label in row["labels"])),
        "truncated_rows": float(cut),
        "parameters": parameters,
    }
    if held_out:
        metrics["eval_loss"] = trainer.evaluate()["eval_loss"]
    finish(trainer, tokenizer, out / "model", out)
    return metrics


def encode_rows(
    rows: Sequence[dict], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[list[dict[str, list[int]]], int]:
    """(input_ids and labels per row, how many rows were cut or left out because of `max_length`).

    A row whose prompt alone fills `max_length` has no completion to learn from and is left out.
    """
    if not rows:
        return [], 0
    prefills = [row.get("prefill") or "" for row in rows]
    prompts = [
        render_prompt(tokenizer, row["prompt"], prefill) for row, prefill in zip(rows, prefills, strict=True)
    ]
    completions = [
        render_completion(row["reasoning"], row["answer"], prefill=prefill)
        for row, prefill in zip(rows, prefills, strict=True)
    ]
    prompt_ids = tokenizer(prompts)["input_ids"]
    completion_ids = tokenizer(completions, add_special_tokens=False)["input_ids"]
    examples, cut = [], 0
    for before, after in zip(prompt_ids, completion_ids, strict=True):
        ids = [*before, *after, tokenizer.eos_token_id]
        cut += len(ids) > max_length
        if len(before) < max_length:
            labels = [IGNORED] * len(before) + ids[len(before) :]
            examples.append({"input_ids": ids[:max_length], "labels": labels[:max_length]})
    if cut:
        logger.warning(
            "warm_start: %d of %d rows are longer than %d tokens and were cut", cut, len(rows), max_length
        )
    return examples, cut


def _texts(rows: Sequence[dict]) -> list[str]:
    """What the tokenizer is trained on: what is to be written, not the prefills."""
    return [f"{row['prompt']}\n<think>\n{render_completion(row['reasoning'], row['answer'])}" for row in rows]
