"""Cross-play: in a share of the updates the policy answers behind what it wrote for other prompts.

The moves are exchanged between prompts, so that the answer player meets all strategies everywhere, and an answer that
only reads off what stands before it is not paid. Borrowed is a reasoning, whole or its last lines, or none (an empty
block). It lies in the prompt: never sampled, never in the loss; the whole group has the same, so that its advantages
compare answers alone. A prompt that the data set itself has begun behind a closed block stays as it is. No attack text
takes part: every text is one that the policy itself sampled an update or more before.
Our choice, not the paper's; an option of every arm, off by default.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from sear_core.chat_format import THINK_CLOSE, closed_block

MEMORY = 256  # completions of each side; the demo writes 72 an update
EMPTY_SHARE = 0.2  # of the borrowed blocks: no reasoning at all
TAIL_SHARE = 0.4  # of the others: their last lines alone


class CrossPlay:
    """Completions of the last updates, by side (harmful prompts or not); decides which groups borrow which.

    All draws come from the seed and the place (generation, group), so that processes that share a group agree;
    `add` must be given the same on all of them.
    """

    def __init__(self, share: float, seed: int) -> None:
        self.share, self.seed = share, seed
        self.sides: dict[bool, deque[str]] = {
            True: deque(maxlen=MEMORY),
            False: deque(maxlen=MEMORY),
        }

    def add(self, found: Iterable[tuple[str, str]]) -> None:
        """(category, reasoning) of completions that the policy wrote on its own."""
        for category, reasoning in found:
            self.sides[category == "harmful"].append(reasoning)

    def put(self, row: dict[str, Any], generation: int, group: int) -> dict[str, Any]:
        """The row, or in an update of cross-play the row behind what was written for a prompt of the other side."""
        others = self.sides[row["category"] != "harmful"]
        drawn = random.Random(f"{self.seed}:cross:{generation}").random()  # noqa: S311
        if not others or drawn >= self.share or borrowed(row):
            return row
        rng = random.Random(f"{self.seed}:cross:{generation}:{group}")  # noqa: S311
        reasoning = rng.choice(others)
        if rng.random() < EMPTY_SHARE:
            reasoning = ""
        elif rng.random() < TAIL_SHARE:
            lines = reasoning.splitlines(keepends=True)
            reasoning = "".join(lines[-rng.randint(1, max(1, len(lines) - 1)) :])
        block = closed_block(reasoning)
        prompt = row["prompt"].removesuffix(row["prefill"])
        return row | {"prompt": prompt + block, "prefill": block}

    def state(self) -> dict[str, list[str]]:
        """For the checkpoint; JSON."""
        return {name: list(self.sides[side]) for name, side in (("harmful", True), ("other", False))}

    def restore(self, state: dict[str, Sequence[str]]) -> None:
        for name, side in (("harmful", True), ("other", False)):
            self.sides[side] = deque(state[name], maxlen=MEMORY)


def borrowed(row: dict[str, Any]) -> bool:
    """Whether the block that the row's prompt ends with is closed: the answer alone is to be written."""
    return THINK_CLOSE in (row.get("prefill") or "")
