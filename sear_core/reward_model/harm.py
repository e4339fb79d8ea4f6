"""Training and measuring the harm model: binary cross-entropy on soft labels at step ends and answer ends.

    loss = mean over rows of ( mean over the row's labelled places of BCE(logit, label) )

so that an answer counts as much as a whole chain of steps. V_0, the empty reasoning, has label 0 [ours].
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, TrainingArguments

from sear_core.chat_format import FORCED_PREFIX
from sear_core.reward_model.calibration import (
    auroc,
    brier,
    expected_calibration_error,
    fit_temperature,
    reliability,
    sigmoid,
)
from sear_core.reward_model.encoding import encode_prompts, encode_steps, pad_right
from sear_core.reward_model.harm_model import SETTINGS, HarmModel, answer_jobs
from sear_core.reward_model.negatives import apart_from_negatives, hard_negatives
from sear_core.reward_model.scorer import build_scorer
from sear_core.trainer_tools import (
    SameOrder,
    common_arguments,
    finish,
    logged_loss,
    lora_config,
    run_trainer,
    split_rows,
    write_json,
)

__all__ = ["HarmModel", "HarmTrainer", "measure", "train_harm_model"]
UNLABELLED = -1.0


class HarmTrainer(SameOrder):
    """transformers' Trainer with the loss above. Batch: input_ids, attention_mask, labels, each (B, T)."""

    loss_is_scaled_for_ga = False  # a mean over the micro-batch: the trainer divides by the accumulation

    def compute_loss(
        self, model: Any, inputs: dict, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labels = inputs.pop("labels")
        outputs = model(**inputs, use_cache=False)
        logits = outputs.logits[..., 0].float()
        labelled = labels != UNLABELLED
        bce = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0.0), reduction="none")
        per_row = (bce * labelled).sum(1) / labelled.sum(1)
        loss = per_row.mean()
        return (loss, outputs) if return_outputs else loss


def train_harm_model(
    *,
    step_rows: Sequence[dict],
    answer_rows: Sequence[dict],
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
    epochs: float = 3,
    learning_rate: float = 1e-3,
    batch_size: int = 64,
    gradient_accumulation: int = 1,
    max_length: int = 256,
    bf16: bool = False,
    gradient_checkpointing: bool = False,
    lora: dict[str, Any] | None = None,
    seed: int = 0,
    logging_steps: int = 10,
    save_every: int | None = None,
    scrambled: float = 0.0,
    mismatched: float = 0.0,
    callbacks: Sequence[TrainerCallback] = (),
    resume: bool = True,
) -> dict[str, float]:
    """Train on `step_labels` and `answer_labels` rows; write the model directory `out`, calibration included.

    Either table may be empty, not both. `model_path` None: tokenizer and model are built from the rows. scrambled,
    mismatched: harmful step rows added as negatives, in shares of their number (negatives.py).
    Returns, on the validation rows, for kind in (steps, answers): `<kind>.auroc` (labels above .5 are
    positive; V_0 is left out), `<kind>.n`, `<kind>.brier`, `<kind>.ece_before` and
    `<kind>.ece` (temperature fitted on every second label, errors taken on the others),
    `<kind>.temperature`; NaN where a kind has no such rows; `steps.scrambled_auroc`, `steps.mismatched_auroc`,
    `steps.harmful_n`: whether V goes by more than the words (negatives.py), left out where there are no such rows; and
    `train_rows`, negatives included. Raises InputError without training rows.
    """
    out = Path(out)
    steps_train, steps_held = split_rows(step_rows, "step_labels") if step_rows else ([], [])
    answers_train, answers_held = (
        split_rows(answer_rows, "answer_labels") if answer_rows or not step_rows else ([], [])
    )
    texts = [f"{row['prompt']}\n<think>\n" + "\n".join(row["steps"]) for row in steps_train]
    texts += [f"{row['prompt']}\n<answer>\n{row['answer']}" for row in answers_train]
    model, tokenizer = build_scorer(
        "tokens", texts, model_path=model_path, revision=revision, trust_remote_code=trust_remote_code,
        dtype=dtype, architecture=architecture, vocab_size=vocab_size, hidden_size=hidden_size, layers=layers,
        heads=heads, max_positions=max_positions, seed=seed,
    )  # fmt: skip
    added = hard_negatives(steps_train, scrambled=scrambled, mismatched=mismatched, seed=seed)
    examples = encode_step_rows([*steps_train, *added], tokenizer, max_length)
    examples += encode_answer_rows(answers_train, tokenizer, max_length)
    if lora:
        model = _with_lora(model, lora)
    trainer = HarmTrainer(
        model=model,
        args=TrainingArguments(
            **common_arguments(
                out, epochs=epochs, learning_rate=learning_rate, batch_size=batch_size,
                gradient_accumulation=gradient_accumulation, seed=seed, logging_steps=logging_steps,
                bf16=bf16, gradient_checkpointing=gradient_checkpointing, save_every=save_every,
            ),
            remove_unused_columns=False,
            train_sampling_strategy="group_by_length",
        ),
        train_dataset=examples,
        data_collator=lambda batch: collate(batch, tokenizer.pad_token_id),
        callbacks=list(callbacks),
    )  # fmt: skip
    run_trainer(trainer, out, resume=resume)
    # The measured model is the saved one: LoRA merged, weights as they will be loaded.
    settings = {"kind": "harm", "max_length": max_length, "temperatures": {}}
    model = finish(trainer, tokenizer, out, out, {SETTINGS: settings})
    harm = HarmModel(model, tokenizer, max_length=max_length)
    metrics, tables = measure(harm, steps_held, answers_held)
    metrics |= {f"steps.{name}": value for name, value in apart_from_negatives(harm, steps_held).items()}
    settings["temperatures"] = {kind: metrics[f"{kind}.temperature"] for kind in ("steps", "answers")}
    if trainer.is_world_process_zero():
        write_json(out / SETTINGS, settings)
        write_json(out / "calibration.json", tables)
    return {"train_loss": logged_loss(trainer), "train_rows": float(len(examples)), **metrics}


def measure(
    harm: HarmModel, step_rows: Sequence[dict], answer_rows: Sequence[dict]
) -> tuple[dict[str, float], dict[str, list]]:
    """(metrics, reliability tables) on held-out rows, from raw logits."""
    step_logits = harm.step_logits([row["prompt"] for row in step_rows], [row["steps"] for row in step_rows])
    pairs = {
        "steps": (
            [x for row in step_logits for x in row[1:]],
            [float(label) for row in step_rows for label in row["labels"]],
        ),
        "answers": (
            harm.answer_logits(
                [row["prompt"] for row in answer_rows], [row["answer"] for row in answer_rows]
            ),
            [float(row["label"]) for row in answer_rows],
        ),
    }
    metrics: dict[str, float] = {}
    tables: dict[str, list] = {}
    for kind, (logits, labels) in pairs.items():
        temperature = fit_temperature(logits[::2], labels[::2])
        scaled = sigmoid([x / temperature for x in logits[1::2]])
        tables[kind] = reliability(scaled, labels[1::2])
        metrics |= {
            f"{kind}.n": float(len(labels)),
            f"{kind}.auroc": auroc(logits, labels),
            f"{kind}.brier": brier(scaled, labels[1::2]),
            f"{kind}.ece_before": expected_calibration_error(sigmoid(logits[1::2]), labels[1::2]),
            f"{kind}.ece": expected_calibration_error(scaled, labels[1::2]),
            f"{kind}.temperature": temperature,
        }
    return metrics, tables


def encode_step_rows(rows: Sequence[dict], tokenizer: PreTrainedTokenizerBase, limit: int) -> list[dict]:
    """input_ids and per-token labels; steps beyond `limit` tokens are left out of training."""
    heads = encode_prompts(tokenizer, [row["prompt"] for row in rows], FORCED_PREFIX, limit // 2)
    pieces = encode_steps(tokenizer, [step for row in rows for step in row["steps"]])
    examples, start = [], 0
    for row, head in zip(rows, heads, strict=True):
        assert len(row["steps"]) == len(row["labels"]), f"step_labels row {row.get('id')}: one label per step"
        ids, labels = list(head), [UNLABELLED] * (len(head) - 1) + [0.0]
        for piece, label in zip(pieces[start : start + len(row["steps"])], row["labels"], strict=True):
            if len(ids) + len(piece) > limit:
                break
            ids += piece
            labels += [UNLABELLED] * (len(piece) - 1) + [float(label)]
        start += len(row["steps"])
        examples.append({"input_ids": ids, "labels": labels})
    return examples


def encode_answer_rows(rows: Sequence[dict], tokenizer: PreTrainedTokenizerBase, limit: int) -> list[dict]:
    """input_ids and per-token labels: one label, on the answer's last token."""
    jobs = answer_jobs(tokenizer, [row["prompt"] for row in rows], [row["answer"] for row in rows], limit)
    return [
        {"input_ids": ids, "labels": [UNLABELLED] * (len(ids) - 1) + [float(row["label"])]}
        for (ids, _), row in zip(jobs, rows, strict=True)
    ]


def collate(batch: Sequence[dict], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Right-padded input_ids, attention_mask (B, T) and labels (B, T, float; -1 where there is none)."""
    ids = [row["input_ids"] for row in batch]
    labels: Any = [row["labels"] for row in batch]
    return {
        "input_ids": torch.tensor(pad_right(ids, pad_token_id)),
        "attention_mask": torch.tensor(pad_right([[1] * len(row) for row in ids], 0)),
        "labels": torch.tensor(pad_right(labels, UNLABELLED), dtype=torch.float32),  # type: ignore[arg-type]
    }


def _with_lora(model: PreTrainedModel, lora: dict[str, Any]) -> Any:
    from peft import get_peft_model

    return get_peft_model(model, lora_config("TOKEN_CLS", head=["score"], **lora))
