"""Dead groups sampled again: other prompts of the same kind take the place of those whose group has no variance.

Our choice, after DAPO's dynamic sampling (arXiv 2503.14476 §3.2), with two differences: the batch keeps its size and
its mix of categories, and the number of extra generations has a cap, so that an update's cost has one too.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from sear_core.policy.cross_play import borrowed

COLUMNS = ("prompt", "question", "category", "prefill")


class Replacements:
    """Draws training rows of the same kind (category, prefilled or not, its block closed or not), other than the one to
    be replaced."""

    def __init__(self, rows: Iterable[dict[str, Any]], seed: int) -> None:
        self.seed = seed
        self.pools: dict[tuple[str, bool, bool], list[dict[str, Any]]] = {}
        known: set[str] = set()
        for row in rows:  # the training order repeats its prompts
            if row["prompt"] not in known:
                known.add(row["prompt"])
                self.pools.setdefault(_kind(row), []).append({name: row[name] for name in COLUMNS})

    def draw(self, row: dict[str, Any], *place: int) -> dict[str, Any]:
        """A row to stand for `row`, decided by the seed and the place (generation, attempt, group), so that all
        processes that hold a part of the group draw the same; `row` itself where there is no other."""
        others = [other for other in self.pools.get(_kind(row), []) if other["prompt"] != row["prompt"]]
        if not others:
            return row
        return random.Random(f"{self.seed}:resample:{place}").choice(others)  # noqa: S311


def _kind(row: dict[str, Any]) -> tuple[str, bool, bool]:
    return row["category"], bool(row["prefill"]), borrowed(row)
