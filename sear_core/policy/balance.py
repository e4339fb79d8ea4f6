"""Which category needs the answer player most: advantages weighed by 1 / u_c.

Refusing everything and answering everything both earn well on one side, and a policy that has begun to slide to a side
finds most of its gradient there. So each category's answer advantages are weighed by the inverse of its mean utility
u_c: the gradient of Σ share_c · log u_c, the weighted geometric mean of utilities that validation chooses by, too
(proportional fairness, Kelly 1997; the shares are those of the prompts). Both sides then rise only together.
Our choice, not the paper's; an option of every arm, off by default.

The same utilities open exploration's gate (`explore_gate`): a policy that is paid for exploring before its answers tell
harmful from ambiguous explores both, refuses behind every exploration, and has no variance left to learn from.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sear_core.schema import CATEGORIES

FLOOR = 0.1  # of a utility: no category weighs more than ten times what a perfect one does
DECAY = 0.9  # a memory of some ten generations
GATE_WIDTH = 0.1  # of utility, over which exploration's gate opens
HIGHEST_GATE = 1 - GATE_WIDTH
AJAR = 0.25  # paid behind the closed gate: what is never explored any more, no gate brings back


def utilities(category: Tensor, reward: Tensor) -> Tensor:
    """(N,) in [0, 1]: r_ans on harmful prompts; elsewhere 2 · r_ans - 1, so that a plain refusal is worth 0."""
    return torch.where(category == CATEGORIES.index("harmful"), reward, (2 * reward - 1).clamp(min=0))


@dataclass
class CategoryBalance:
    """Running mean utility of each category, and the running share of explored completions where that is paid for.

    Both are the only state; whoever resumes restores it.
    """

    means: dict[str, float] = field(default_factory=dict)
    explored: float | None = None

    def count(self, category: Tensor, reward: Tensor) -> None:
        """Take in one generation's completions; category: (N,) index into CATEGORIES. NaN does not count."""
        worth = utilities(category, reward)
        for index, name in enumerate(CATEGORIES):
            here = category == index
            now = worth[here].nanmean().item() if here.any() else float("nan")
            if now == now:
                before = self.means.get(name, now)
                self.means[name] = DECAY * before + (1 - DECAY) * now

    def weights(self, category: Tensor) -> Tensor:
        """(N,) of mean 1 over these completions; a category not yet counted weighs as a perfect one does."""
        weights = torch.ones(len(category), device=category.device)
        for index, name in enumerate(CATEGORIES):
            if name in self.means:
                weights[category == index] = 1 / max(FLOOR, self.means[name])
        return weights / weights.mean()

    def count_explored(self, explored: Tensor) -> None:
        """Take in 1 or 0 of one generation's completions to prompts on which exploring is paid for; NaN is left out."""
        now = explored.nanmean().item()  # NaN of nothing
        if now == now:
            before = now if self.explored is None else self.explored
            self.explored = DECAY * before + (1 - DECAY) * now

    def explore_gate(self, start: float, at_least: float = 0.0) -> float:
        """How far exploration is paid for: AJAR while the worst category's utility is at most `start`, 1 from
        GATE_WIDTH above it, in between on the line; always 1 where `start` is 0. It closes again when a category
        falls behind. And however the answers are, it opens as the explored share falls to `at_least`, from
        GATE_WIDTH above it on: exploration waits for the answers, but does not die meanwhile. Our choice."""
        if not start:
            return 1.0
        worst = min(self.means.values()) if len(self.means) == len(CATEGORIES) else 0.0
        openings = [(worst - start) / GATE_WIDTH]
        if at_least and self.explored is not None:
            openings.append((at_least + GATE_WIDTH - self.explored) / GATE_WIDTH)
        return AJAR + (1 - AJAR) * min(1.0, max(0.0, *openings))

    def state(self) -> dict:
        """For the checkpoint; JSON."""
        return {"means": self.means, "explored": self.explored}

    def restore(self, state: dict) -> None:
        self.means, self.explored = state["means"], state["explored"]
