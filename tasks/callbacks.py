"""A trainer callback that logs curves to a stage's run and shows progress."""

from __future__ import annotations

from typing import Any

from tasks.stage import Job


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
