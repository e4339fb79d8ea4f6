"""The rows that the policy is trained on, in order: balanced over categories, seeded, rendered, prefilled."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import Any

from sear_core.chat_format import render_prompt
from sear_core.errors import InputError
from sear_core.schema import CATEGORIES

logger = logging.getLogger(__name__)


def balanced_order(
    categories: Sequence[str], length: int, seed: int, harmful_share: float | None = None
) -> list[int]:
    """Indices of `length` rows such that any stretch of them holds the categories in the rows' own mix, or, with
    harmful_share, that share of harmful ones and the rest harmless : ambiguous = 1 : 1 (TARS, arXiv 2507.00971).

    Each place goes to the category that lags furthest behind its share (ties: harmful first); within a
    category rows come shuffled, and reshuffled once all have been used.
    """
    pools = {name: [i for i, c in enumerate(categories) if c == name] for name in CATEGORIES}
    pools = {name: pool for name, pool in pools.items() if pool}
    rngs = {name: random.Random(f"{seed}:{name}") for name in pools}  # noqa: S311
    share = {name: len(pool) / len(categories) for name, pool in pools.items()}
    if harmful_share is not None:
        missing = [name for name in CATEGORIES if name not in pools]
        if missing:
            raise InputError(
                f"policy.harmful_share needs prompts of all categories; there is none of {missing[0]}"
            )
        share = {name: harmful_share if name == "harmful" else (1 - harmful_share) / 2 for name in pools}
    queues: dict[str, list[int]] = {name: [] for name in pools}
    used = dict.fromkeys(pools, 0)
    order = []
    for place in range(length):
        name = max(pools, key=lambda c: share[c] * (place + 1) - used[c])
        if not queues[name]:
            queues[name] = rngs[name].sample(pools[name], len(pools[name]))
        order.append(queues[name].pop())
        used[name] += 1
    return order


def training_rows(
    tokenizer: Any,
    prompts: Sequence[dict[str, Any]],
    *,
    length: int,
    seed: int,
    max_prompt_length: int,
    harmful_share: float | None = None,
    recap_share: float = 0.0,
    recap_reasonings: Sequence[dict[str, Any]] = (),
) -> tuple[list[dict[str, str]], int]:
    """`length` dataset rows (prompt, question, category, prefill) in training order, and how many prompts
    were dropped because they are longer than max_prompt_length tokens once rendered.

    With recap_share, that share of the harmful rows is prefilled with a harmful reasoning (RECAP, arXiv
    2510.00938): one of `recap_reasonings` (prompt, reasoning) for the same prompt where there is one, else
    any. A prefill lies in the prompt and so outside the loss. Raises InputError where nothing is left, or
    where there is nothing to prefill with.
    """
    rendered = [render_prompt(tokenizer, row["prompt"]) for row in prompts]
    lengths = [len(ids) for ids in tokenizer(rendered)["input_ids"]] if rendered else []
    kept = [row for row, n in zip(prompts, lengths, strict=True) if n <= max_prompt_length]
    if not kept:
        raise InputError(
            f"rl_prompts: none of {len(prompts)} prompts has at most max_prompt_length = {max_prompt_length} "
            f"tokens once rendered"
        )
    if len(kept) < len(prompts):
        logger.warning("%d of %d prompts are longer than max_prompt_length = %d tokens and are left out",
                       len(prompts) - len(kept), len(prompts), max_prompt_length)  # fmt: skip
    if recap_share and not recap_reasonings:
        raise InputError("policy.recap_share > 0 needs harmful reasonings to prefill; there are none")
    by_prompt: dict[str, list[str]] = {}
    for recap in recap_reasonings:
        by_prompt.setdefault(recap["prompt"], []).append(recap["reasoning"])
    every = [recap["reasoning"] for recap in recap_reasonings]

    rng = random.Random(f"{seed}:recap")  # noqa: S311
    rows, harmful, prefilled = [], 0, 0
    for index in balanced_order([row["category"] for row in kept], length, seed, harmful_share):
        row, prefill = kept[index], kept[index].get("prefill") or ""
        if row["category"] == "harmful":
            harmful += 1
            if recap_share * harmful - prefilled >= 1:
                prefill = rng.choice(by_prompt.get(row["prompt"], every)).rstrip() + "\n"
                prefilled += 1
        rows.append(
            {
                "prompt": render_prompt(tokenizer, row["prompt"], prefill),
                "question": row["prompt"],
                "category": row["category"],
                "prefill": prefill,
            }
        )
    return rows, len(prompts) - len(kept)
