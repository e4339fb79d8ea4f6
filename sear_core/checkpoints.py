"""Which checkpoint training may go on from: the newest one that is whole, byte for byte.

A checkpoint is believed once its manifest is there, written last: {file: sha256} of all it holds. A kill while
it is written leaves none; a file that was damaged later is found by its hash. Our choice; transformers alone
would take the highest number, whatever is in it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

logger = logging.getLogger(__name__)
MANIFEST = "manifest.json"
OWN_STATE = "resume.safetensors"
TOKENS = "_total_train_tokens"  # of TRL's trainers


class Resumable(TrainerCallback):
    """Makes checkpoints that training goes on from as if it had never stopped, weights and curves alike.

    It adds to transformers' own state: the random state at the beginning of the epoch, from which the
    length-grouped sampler draws the epoch's order; TRL's count of tokens; a log entry with every checkpoint, so
    that no running mean is cut in two; and, last, the manifest. Goes right behind transformers' own callback.
    """

    def __init__(self, trainer: Trainer, checkpoint: str | None = None) -> None:
        self.trainer, self.restore = trainer, None
        if checkpoint is not None:
            state = load_file(Path(checkpoint) / OWN_STATE)
            self.restore = state["random"]
            if hasattr(trainer, TOKENS):
                setattr(trainer, TOKENS, int(state["tokens"]))
        self.epoch_state = torch.get_rng_state()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_log = control.should_log or control.should_save

    on_epoch_end = on_step_end

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.restore is not None:
            torch.set_rng_state(self.restore)
            self.restore = None
        self.epoch_state = torch.get_rng_state()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            ended = math.isclose(
                state.epoch, round(state.epoch), abs_tol=1e-9
            )  # the next begins with the present one
            kept = {
                "random": torch.get_rng_state() if ended else self.epoch_state,
                "tokens": torch.tensor(int(getattr(self.trainer, TOKENS, 0))),
            }
            save_file(kept, folder / OWN_STATE)
            write_manifest(folder)


def write_manifest(folder: Path) -> None:
    temporary = folder / f".{MANIFEST}.part"
    temporary.write_text(json.dumps(_hashes(folder), indent=1, sort_keys=True))
    temporary.replace(folder / MANIFEST)


def last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint under `folder` that training can go on from, or None.

    A damaged one is named in a warning and removed. One at the end of the training is passed over (`at_the_end`).
    """
    found = [path for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.name.split("-")[-1].isdigit()]
    for path in sorted(found, key=lambda path: int(path.name.split("-")[-1]), reverse=True):
        fault = damage(path)
        if not fault:
            if at_the_end(path):
                continue
            return str(path)
        logger.warning("%s: not gone on from: %s; the one before it is used", path, fault)
        shutil.rmtree(path)
    return None


def at_the_end(folder: Path) -> bool:
    """Whether a checkpoint stands at the last step of a training that ends within an epoch.

    From there transformers' trainer would make one update too many: it looks behind an update only whether it is done.
    """
    file = folder / TRAINER_STATE_NAME
    if not file.is_file():
        return False
    state = json.loads(file.read_text())
    within = not math.isclose(state["epoch"], round(state["epoch"]), abs_tol=1e-9)
    return within and state["global_step"] >= state["max_steps"]


def damage(folder: Path) -> str:
    """What is wrong with a checkpoint, in words; "" where it is what was written."""
    try:
        expected = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        return "it was not written to its end"
    except (OSError, ValueError) as error:
        return f"its {MANIFEST} cannot be read ({error})"
    found = _hashes(folder)
    for name, digest in expected.items():
        if name not in found:
            return f"{name} is gone"
        if found[name] != digest:
            return f"{name} has changed since it was written"
    return ""


def _hashes(folder: Path) -> dict[str, str]:
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and MANIFEST not in path.name:
            with path.open("rb") as file:
                hashes[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes
