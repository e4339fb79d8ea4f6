"""What stages add to transformers' trainers: a callback for curves and progress; which checkpoint not to go on from."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.stage import Job


def forget_ended(out: Path) -> list[Path]:
    """Remove the checkpoints under `out` that stand at the last step of all; the one before is gone on from.

    Where the training ends within an epoch, transformers' trainer makes one update too many after such a checkpoint: it
    looks whether it is done behind an update only. Returns what was removed.
    """
    removed = []
    for file in sorted(out.rglob("checkpoint-*/trainer_state.json")):
        with suppress(
            OSError, ValueError, KeyError, TypeError
        ):  # a damaged one is found, and named, by its hashes
            state = json.loads(file.read_text())
            within = abs(state["epoch"] - round(state["epoch"])) > 1e-9
            if within and state["global_step"] >= state["max_steps"]:
                shutil.rmtree(file.parent)
                removed.append(file.parent)
    return removed


def training_callback(job: Job, prefix: str = "") -> Any:
    """A transformers TrainerCallback: every logged number to the child run, every step to the progress bar."""
    from transformers import TrainerCallback

    from sear_core.trainer_tools import UNEQUAL

    class StageCallback(TrainerCallback):
        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
        ) -> None:
            if job.log is not None and state.is_world_process_zero:
                kept = {
                    k: v
                    for k, v in (logs or {}).items()
                    if not any(word in k for word in ("profiling/", *UNEQUAL))
                }
                job.log.metrics({f"{prefix}{k}": v for k, v in kept.items()}, step=state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            job.progress(state.global_step, state.max_steps)

    return StageCallback()
