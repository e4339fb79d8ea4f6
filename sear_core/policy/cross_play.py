"""Cross-play: a share of the groups answers behind a reasoning that the policy wrote for another prompt.

The reasoning player's moves are exchanged between prompts, so that the answer player meets all of its strategies
everywhere, and an answer that only reads off what the reasoning announces is not paid. The borrowed block lies in
the prompt: never sampled, never in the loss; the whole group has the same one, so that its advantages compare answers
alone. No attack text takes part: every reasoning is one that the policy itself sampled an update or more before.
Our choice, not the paper's; an option of every arm, off by default.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from sear_core.chat_format import THINK_CLOSE, closed_block

MEMORY = 256  # reasonings of each side; the demo writes 72 an update
EMPTY_SHARE = 0.25  # of the borrowed blocks: no reasoning at all


class CrossPlay:
    """Reasonings of the last updates, by side (harmful prompts or not); decides which groups borrow which.

    All draws come from the seed and the place (generation, group), so that processes that share a group agree;
    `add` must be given the same on all of them.
    """

    def __init__(self, share: float, seed: int) -> None:
        self.share, self.seed = share, seed
        self.sides: dict[bool, deque[tuple[str, str]]] = {
            True: deque(maxlen=MEMORY),
            False: deque(maxlen=MEMORY),
        }

    def add(self, found: Iterable[tuple[str, str, str]]) -> None:
        """(category, question, reasoning) of completions that the policy wrote on its own."""
        for category, question, reasoning in found:
            self.sides[category == "harmful"].append((question, reasoning))

    def put(self, row: dict[str, Any], generation: int, group: int) -> dict[str, Any]:
        """The row, or the row behind a closed block that was written for a prompt of the other side."""
        rng = random.Random(f"{self.seed}:cross:{generation}:{group}")  # noqa: S311
        others = self.sides[row["category"] != "harmful"]
        if rng.random() >= self.share or row["prefill"] or not others:
            return row
        empty = rng.random() < EMPTY_SHARE
        block = closed_block("" if empty else rng.choice(others)[1])
        return row | {"prompt": row["prompt"] + block, "prefill": block}

    def state(self) -> dict[str, list[list[str]]]:
        """For the checkpoint; JSON."""
        return {
            name: [list(pair) for pair in self.sides[side]]
            for name, side in (("harmful", True), ("other", False))
        }

    def restore(self, state: dict[str, Sequence[Sequence[str]]]) -> None:
        for name, side in (("harmful", True), ("other", False)):
            self.sides[side] = deque(((q, z) for q, z in state[name]), maxlen=MEMORY)


def borrowed(row: dict[str, Any]) -> bool:
    """Whether the block that the row's prompt ends with is closed: the answer alone is to be written."""
    return THINK_CLOSE in (row.get("prefill") or "")
