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
DRAWS = 20  # of RECAP's reasonings, where the first does not fit


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
    were dropped because they are longer than max_prompt_length tokens once rendered, their own prefill included.

    With recap_share, that share of the harmful rows is prefilled with a harmful reasoning (RECAP, arXiv
    2510.00938): one of `recap_reasonings` (prompt, reasoning) for the same prompt where there is one, else
    any; where none that fits is drawn the row stays as it is, which a warning counts. A prefill lies in the
    prompt and so outside the loss. Raises InputError where nothing is left, or
    where there is nothing to prefill with.
    """
    rendered = [render_prompt(tokenizer, row["prompt"], row.get("prefill") or "") for row in prompts]
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
    rows, harmful, prefilled, unfit = [], 0, 0, 0
    for index in balanced_order([row["category"] for row in kept], length, seed, harmful_share):
        row, prefill = kept[index], kept[index].get("prefill") or ""
        if row["category"] == "harmful":
            harmful += 1
            if recap_share * harmful - prefilled >= 1:
                prefilled += 1
                pool = by_prompt.get(row["prompt"], every)
                drawn = _fitting(tokenizer, row["prompt"], pool, rng, max_prompt_length)
                prefill, unfit = (prefill, unfit + 1) if drawn is None else (drawn, unfit)
        rows.append(
            {
                "prompt": render_prompt(tokenizer, row["prompt"], prefill),
                "question": row["prompt"],
                "category": row["category"],
                "prefill": prefill,
            }
        )
    if unfit:
        logger.warning("%d of %d harmful rows that RECAP prefills stay as they are: no reasoning drawn for them fits "
                       "max_prompt_length = %d tokens", unfit, prefilled, max_prompt_length)  # fmt: skip
    return rows, len(prompts) - len(kept)


def check_context(
    tokenizer: Any,
    rows: Sequence[dict[str, str]],
    positions: int | None,
    completion: int,
    borrows: bool = False,
) -> None:
    """Raises InputError where the longest prompt and a completion of `completion` tokens need more positions than the
    model has; `positions` None: it does not say. borrows: a prompt may have a whole completion before its own
    (cross_play, validate_swapped)."""
    if positions is None:
        return
    longest = max(len(ids) for ids in tokenizer(sorted({row["prompt"] for row in rows}))["input_ids"])
    tokens = completion * (2 if borrows else 1)
    if longest + tokens > positions:
        raise InputError(
            f"policy.max_completion_length = {completion}{', twice with a borrowed reasoning,' if borrows else ''} and "
            f"the longest prompt's {longest} tokens are more than the model's {positions} positions; lower it, or "
            f"policy.max_prompt_length"
        )


def _fitting(
    tokenizer: Any, prompt: str, reasonings: Sequence[str], rng: random.Random, limit: int
) -> str | None:
    """A reasoning that leaves the rendered prompt within `limit` tokens, as a prefill: one drawn, else one of DRAWS
    more, all different; None where none of them does."""

    def fits(reasoning: str) -> bool:
        rendered = render_prompt(tokenizer, prompt, _as_prefill(reasoning))
        return len(tokenizer(rendered)["input_ids"]) <= limit

    drawn = rng.choice(reasonings)
    if fits(drawn):
        return _as_prefill(drawn)
    others = filter(fits, rng.sample(reasonings, min(DRAWS, len(reasonings))))
    return next(map(_as_prefill, others), None)


def _as_prefill(reasoning: str) -> str:
    return reasoning.rstrip() + "\n"
