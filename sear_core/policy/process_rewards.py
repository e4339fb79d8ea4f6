"""Process rewards: the value V_k of a reasoning prefix z_1 … z_k for an unsafe response; one interface.

`harm_model` (the default): V_k = p_harm(x, z_1 … z_k) from the causal harm model, all K boundaries in one
forward pass. A plug-in of one's own is named `module:object`. Our choice throughout: what the paper's process
reward is, its abstract does not say.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any, Protocol

from sear_core.errors import InputError


class ProcessReward(Protocol):
    def values(self, prompts: list[str], steps: list[list[str]]) -> list[list[float]]:
        """V_0 … V_K per row: K + 1 values for K steps, index 0 the value of the empty reasoning."""
        ...


class HarmModelReward:
    """V_k = p_harm(x, z_1 … z_k) of a loaded HarmModel."""

    def __init__(self, harm: Any) -> None:
        self.harm = harm

    def values(self, prompts: list[str], steps: list[list[str]]) -> list[list[float]]:
        return self.harm.score_steps(prompts, steps)


NAMES = ("harm_model",)


def load_process_reward(name: str, harm: Any) -> ProcessReward:
    """The process reward of that name: one of NAMES, or `module:object`, an object with a method `values`
    (a class is called without arguments first).

    Raises InputError where there is none of that name.
    """
    if name == "harm_model":
        return HarmModelReward(harm)
    module_name, colon, attribute = name.partition(":")
    if not colon:
        raise InputError(
            f"policy.process_reward = {name!r}: no such process reward; there are {', '.join(NAMES)}, "
            f"and your own as module:object"
        )
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"policy.process_reward = {name!r}: cannot be imported ({error})") from error
    reward = found() if isinstance(found, type) else found
    if not callable(getattr(reward, "values", None)):
        raise InputError(
            f"policy.process_reward = {name!r}: has no method values(prompts, steps) -> V_0 … V_K per row"
        )
    return reward


def checked_values(
    reward: ProcessReward, prompts: list[str], steps: list[list[str]]
) -> list[list[float] | None]:
    """V_0 … V_K per row; None (unscorable) for a row of the wrong length or with a value that is not finite.

    Raises RuntimeError, naming the process reward, where it fails or returns another number of rows.
    """
    if not prompts:
        return []
    name = type(reward).__name__
    try:
        rows: Sequence[Sequence[float]] = reward.values(prompts, steps)
    except Exception as error:
        raise RuntimeError(
            f"the process reward {name} failed on {len(prompts)} reasonings: {error}"
        ) from error
    if len(rows) != len(prompts):
        raise RuntimeError(f"the process reward {name} returned {len(rows)} rows, expected {len(prompts)}")
    return [_checked_row(row, len(row_steps) + 1) for row, row_steps in zip(rows, steps, strict=True)]


def _checked_row(row: Sequence[float] | None, length: int) -> list[float] | None:
    if row is None or len(row) != length:
        return None
    values = [float(value) for value in row]
    return values if all(math.isfinite(value) for value in values) else None
