"""What the three supervised trainers share: arguments stated in full, LoRA, resume, history, saving.

Two defaults of TRL 1.x are slow or wrong on small machines, so they are always stated: gradient checkpointing
(on there) and bf16 (on there). `report_to` is none: curves go out through the callbacks that a stage passes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from sear_core.checkpoints import Resumable, last_checkpoint
from sear_core.errors import InputError

# Wall-clock figures, and the mean loss since the last start: they differ between equal runs.
UNEQUAL = ("runtime", "per_second", "_time", "flos", "train_loss")


def common_arguments(
    out: Path,
    *,
    epochs: float,
    learning_rate: float,
    batch_size: int,
    gradient_accumulation: int = 1,
    seed: int,
    logging_steps: int = 10,
    bf16: bool = False,
    gradient_checkpointing: bool = False,
    save_every: int | None = None,
) -> dict[str, Any]:
    """Keywords for any TrainingArguments: cosine to zero after 5 % warm-up.

    batch_size × gradient_accumulation rows make an optimiser step, however many processes share them. save_every: a
    checkpoint after so many optimiser steps; None: after every epoch. Raises InputError where they cannot share.
    """
    batch_size, gradient_accumulation = shared(batch_size, gradient_accumulation)
    return {
        "output_dir": str(out / "checkpoints"),
        "num_train_epochs": epochs,
        "learning_rate": learning_rate,
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": batch_size,
        "gradient_accumulation_steps": gradient_accumulation,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,
        "max_grad_norm": 1.0,
        "seed": seed,
        "data_seed": seed,
        "logging_steps": logging_steps,
        "logging_first_step": True,
        "save_strategy": "epoch" if save_every is None else "steps",
        "save_steps": save_every or 500,
        "save_total_limit": 2,  # the one before, should the last be damaged
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": bf16,
        "gradient_checkpointing": gradient_checkpointing,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }


def shared(batch_size: int, gradient_accumulation: int) -> tuple[int, int]:
    """Each process's batch and accumulation: as large a batch as asked for, and the same rows per optimiser step."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # as torchrun and accelerate launch set it
    rows, left = divmod(batch_size * gradient_accumulation, processes)
    if left or not rows:
        raise InputError(
            f"batch_size {batch_size} × gradient_accumulation {gradient_accumulation} cannot be shared evenly by "
            f"{processes} processes; expected a multiple of {processes}"
        )
    batch = max(size for size in range(1, batch_size + 1) if rows % size == 0)
    return batch, rows // batch


class SameOrder(Trainer):
    """Mixed into a Trainer that groups rows by length: the order of the rows does not depend on how many share them."""

    def _get_train_sampler(self, *arguments: Any, **named: Any) -> Any:
        sampler = super()._get_train_sampler(*arguments, **named)
        if isinstance(sampler, LengthGroupedSampler):  # sorts within some tens of *its* batches
            sampler.batch_size *= self.accelerator.num_processes
        return sampler


def lora_config(
    task_type: str,
    *,
    r: int = 16,
    alpha: int = 32,
    dropout: float = 0.0,
    target_modules: str | list[str] = "all-linear",
    head: list[str] | None = None,
) -> Any:
    """A PEFT LoRA config; `head` names modules trained in full (a fresh scoring head)."""
    from peft import LoraConfig

    return LoraConfig(
        r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules=target_modules, task_type=task_type,
        modules_to_save=head,
    )  # fmt: skip


def run_trainer(trainer: Trainer, out: Path, *, resume: bool) -> None:
    """Train, from the last whole checkpoint under `out` where there is one and `resume`.

    Without `resume` old checkpoints are removed first. Standard output is left alone (it is for results).
    """
    trainer.remove_callback(PrinterCallback)
    folder = out / "checkpoints"
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    checkpoint = last_checkpoint(folder)
    # before the caller's: one that ends the run must find the checkpoint whole
    trainer.callback_handler.callbacks.insert(1, Resumable(trainer, checkpoint))
    trainer.train(resume_from_checkpoint=checkpoint)


def finish(
    trainer: Trainer,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    out: Path,
    extra: dict[str, dict] | None = None,
) -> PreTrainedModel:
    """Save model (LoRA merged) and tokenizer to `folder`, `history.json` to `out`; return the model.

    Checkpoints are dropped. `extra` are JSON files that belong into the model directory. Each file appears
    whole, by a rename.
    """
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    if trainer.is_world_process_zero():
        write_json(out / "history.json", history(trainer))
        save_model(model, tokenizer, folder, extra or {})
        shutil.rmtree(str(trainer.args.output_dir), ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    return model


def save_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, extra: dict[str, Any]
) -> None:
    """Write a model directory (safetensors, tokenizer, and the JSON files of `extra`).

    All is written to a temporary folder inside first; `config.json`, without which the directory is no model,
    is moved last.
    """
    temporary = folder / ".part"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    for name, content in extra.items():
        write_json(temporary / name, content)
    for file in sorted(temporary.iterdir(), key=lambda entry: entry.name == "config.json"):
        file.replace(folder / file.name)
    temporary.rmdir()


def logged_loss(trainer: Trainer) -> float:
    """The mean of the logged training losses; unlike the trainer's own figure, the same after a resume."""
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return sum(losses) / len(losses) if losses else float("nan")


def history(trainer: Trainer) -> list[dict[str, float]]:
    """The trainer's log without what differs between equal runs."""
    return [
        {key: value for key, value in entry.items() if not any(word in key for word in UNEQUAL)}
        for entry in trainer.state.log_history
    ]


def write_json(path: Path, content: Any) -> None:
    """Write JSON under a temporary name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)


def split_rows(rows: Sequence[dict], table: str) -> tuple[list[dict], list[dict]]:
    """(train, validation) rows; raises InputError without training rows or with rows of the test split."""
    foreign = next((row for row in rows if row["split"] not in ("train", "validation")), None)
    if foreign is not None:
        raise InputError(
            f"{table}: row {foreign.get('id')} has split {foreign['split']!r}; it must not be trained on"
        )
    train = [row for row in rows if row["split"] == "train"]
    if not train:
        raise InputError(f"{table}: no row of split 'train'; nothing to train on")
    return train, [row for row in rows if row["split"] == "validation"]
