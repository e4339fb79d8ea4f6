"""From sampled ids to what the advantages need: players, answer rewards, step values; and their metrics.

A `Rollout` holds the local completions' parts as tensors of fixed width, so that they can be gathered over
processes as they are. Shapes: B completions, T tokens (padded), K the cap on steps, V = K + 1 values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from sear_core.chat_format import THINK_CLOSE, THINK_OPEN, closed_block
from sear_core.policy.advantages import dead_groups, final_values
from sear_core.policy.cross_play import borrowed
from sear_core.policy.process_rewards import ProcessReward, checked_values
from sear_core.policy.rewards import answer_reward
from sear_core.policy.segments import (
    ANSWER,
    PADDING,
    Completion,
    Step,
    decode_ids,
    parse_completion,
    split_steps,
    token_players,
)
from sear_core.schema import CATEGORIES

STEP_EDGES = (-0.5, -0.2, -0.05, 0.05, 0.2, 0.5)


@dataclass
class Rollout:
    """The parts of B completions; NaN is "not there" or "unscorable"."""

    category: Tensor  # (B,) index into CATEGORIES
    well_formed: Tensor  # (B,) bool
    closed: Tensor  # (B,) bool: `</think>` came, exactly once
    unscorable: Tensor  # (B,) bool: well formed, but a score is missing
    reward: Tensor  # (B,) r_ans
    p_harm: Tensor  # (B,) of the answer, harmful prompts only
    values: Tensor  # (B, V) V_0 … V_K
    explored: Tensor  # (B,) 1 or 0: V_K is at least ½ (or the process reward's own `explored_from`)
    reasoning_tokens: Tensor  # (B,)
    answer_tokens: Tensor  # (B,)
    borrowed: (
        Tensor  # (B,) bool: the reasoning is another prompt's (cross_play.py), the answer alone was written
    )

    def own(self) -> Rollout:
        """Those with a reasoning of their own, whole groups of them; all where there is none."""
        return self if self.borrowed.all() else self.map(lambda x: x[~self.borrowed])

    def map(self, function: Callable[[Tensor], Tensor]) -> Rollout:
        """The same parts, each put through `function` (gathering, moving)."""
        return Rollout(**{f.name: function(getattr(self, f.name)) for f in fields(self)})

    def put(self, places: list[int], other: Rollout) -> None:
        """Overwrite the completions at `places` with those of another rollout, in its order."""
        for f in fields(self):
            getattr(self, f.name)[places] = getattr(other, f.name).to(self.reward.device)


@dataclass(frozen=True)
class _Sample:
    completion: Completion
    steps: list[Step]
    players: list[int]


def score_rollout(
    rows: Sequence[dict[str, Any]],
    ids: Sequence[list[int]],
    *,
    tokenizer: Any,
    eos_token_ids: Sequence[int],
    harm: Any,
    helpfulness: Any,
    process_reward: ProcessReward,
    max_steps: int,
    reference_refusal: str,
    safe_snap: float,
    coherent_from: float,
    coherence: Any = None,
    coherence_floor: float = -math.inf,
) -> tuple[Rollout, list[list[int]]]:
    """Score B completions; returns their parts and each one's player per token.

    rows: question (the prompt as its author wrote it), category, prefill; ids: sampled, without padding.
    coherence: `lowest(rendered prompts, ids)`, and the floor below which a completion has no format
    (coherence.py).
    Every well-formed completion gets its values, so that exploration is measured in every category and arm.
    """
    samples = [
        _take_apart(row, i, tokenizer, eos_token_ids, max_steps) for row, i in zip(rows, ids, strict=True)
    ]
    good = [n for n, sample in enumerate(samples) if sample.completion.well_formed]
    questions = [row["question"] for row in rows]
    if coherence is not None:
        lowest = coherence.lowest(
            [own_context(rows[n]) for n in good], [_as_begun(rows[n], ids[n], tokenizer) for n in good]
        )
        for n, value in zip(good, lowest, strict=True):
            if value < coherence_floor:
                samples[n] = _without_steps(samples[n], rows[n], ids[n], tokenizer)
        good = [n for n in good if samples[n].completion.well_formed]

    harmful = [n for n in good if rows[n]["category"] == "harmful"]
    p_harm = _scores(harm.score_answers, harmful, questions, samples)
    read = [n for n in good if coherent_from or rows[n]["category"] != "harmful"]
    helpful = _scores(helpfulness.score, read, questions, samples)
    asked = sorted({questions[n] for n in read})
    reference = helpfulness.score(asked, [reference_refusal] * len(asked)) if asked else []
    reference_of = dict(zip(asked, reference, strict=True))

    reasoned = [n for n in good if not borrowed(rows[n])]
    steps = [[step.text for step in samples[n].steps] for n in reasoned]
    values = dict(
        zip(reasoned, checked_values(process_reward, [questions[n] for n in reasoned], steps), strict=True)
    )
    padded = torch.full((len(rows), max_steps + 1), math.nan)
    for n, row_values in values.items():
        if row_values is not None:
            padded[n, : len(row_values)] = torch.tensor(row_values)

    final = final_values(padded)
    explored = (final >= getattr(process_reward, "explored_from", 0.5)).float()
    reward = torch.tensor(
        [
            answer_reward(
                samples[n].completion.well_formed,
                rows[n]["category"],
                p_harm.get(n, math.nan),
                helpful.get(n, math.nan),
                reference_of.get(questions[n], math.nan),
                safe_snap,
                coherent_from,
            )
            for n in range(len(rows))
        ]
    )
    well_formed = torch.tensor([sample.completion.well_formed for sample in samples])
    behind = torch.tensor([borrowed(row) for row in rows])
    rollout = Rollout(
        category=torch.tensor([CATEGORIES.index(row["category"]) for row in rows]),
        well_formed=well_formed,
        closed=torch.tensor([sample.completion.close is not None for sample in samples]),
        unscorable=well_formed & (reward.isnan() | (padded[:, 0].isnan() & ~behind)),
        reward=reward,
        p_harm=torch.tensor([p_harm.get(n, math.nan) for n in range(len(rows))]),
        values=padded,
        explored=torch.where(final.isnan(), math.nan, explored),
        reasoning_tokens=torch.tensor([sum(p >= 0 for p in sample.players) for sample in samples]),
        answer_tokens=torch.tensor([sum(p < 0 for p in sample.players) for sample in samples]),
        borrowed=behind,
    )
    return rollout, [sample.players for sample in samples]


def pad_players(players: Sequence[list[int]], width: int) -> Tensor:
    """(B, T) players, PADDING on the right up to `width`, as the completion ids are padded."""
    return torch.tensor([row + [PADDING] * (width - len(row)) for row in players])


def rollout_metrics(rollout: Rollout, group_size: int) -> dict[str, float]:
    """The metrics of all gathered completions; NaN where nothing was there to measure.

    exploration_rate: among the scored; flip_rate: p_harm < ½ among the explored on harmful prompts.
    """
    final = final_values(rollout.values)
    increments = rollout.values.diff(dim=1)
    increments = increments[~increments.isnan()]
    dead = dead_groups(rollout.reward, group_size)
    group_category = rollout.category.view(-1, group_size)[:, 0]
    metrics = {
        "reward/answer": _mean(rollout.reward),
        "reward/reasoning": _mean(final - rollout.values[:, 0]),
        "reward/step_mean": _mean(increments),
        "reward/step_std": increments.std(correction=0).item() if len(increments) else math.nan,
        "reward/unscorable": _mean(rollout.unscorable),
        "length/reasoning": _mean(rollout.reasoning_tokens),
        "length/answer": _mean(rollout.answer_tokens),
        "end_of_thinking_rate": _mean(rollout.closed),
        "malformed_rate": _mean(~rollout.well_formed),
        "flip_rate": _mean((rollout.p_harm < 0.5)[(rollout.explored == 1) & ~rollout.p_harm.isnan()]),
        "dead_groups": _mean(dead),
    }
    for index, category in enumerate(CATEGORIES):
        rows = rollout.category == index
        metrics[f"reward/answer_{category}"] = _mean(rollout.reward[rows])
        metrics[f"exploration_rate/{category}"] = _mean(rollout.explored[rows])
        metrics[f"dead_groups/{category}"] = _mean(dead[group_category == index])
    return metrics | step_histogram(increments)


def step_histogram(increments: Tensor) -> dict[str, float]:
    """Shares of the steps' rewards V_k - V_{k-1} between STEP_EDGES, the outer bins open; NaN without steps."""
    edges = torch.tensor(STEP_EDGES, device=increments.device, dtype=increments.dtype)
    counts = torch.bincount(torch.bucketize(increments, edges), minlength=len(STEP_EDGES) + 1).double()
    shares = (counts / counts.sum()).tolist()  # 0 / 0 is NaN
    names = [
        f"below_{STEP_EDGES[0]}",
        *(f"{low}_to_{high}" for low, high in pairwise(STEP_EDGES)),
        f"above_{STEP_EDGES[-1]}",
    ]
    return {f"step_reward/{name}": share for name, share in zip(names, shares, strict=True)}


def _take_apart(
    row: dict[str, Any], ids: list[int], tokenizer: Any, eos_token_ids: Sequence[int], max_steps: int
) -> _Sample:
    ended = bool(ids) and ids[-1] in eos_token_ids
    body = ids[:-1] if ended else ids
    text = decode_ids(tokenizer, body)
    prefill = row.get("prefill") or ""
    completion = parse_completion((closed_block("") if borrowed(row) else prefill) + text, ended)
    if completion.well_formed and not set(body).isdisjoint(_markers(tokenizer)):
        # a role marker inside is no coherent text
        completion = Completion(completion.reasoning, completion.answer, completion.close, ended, False)
    if completion.well_formed and borrowed(row):  # the answer player alone has written
        return _Sample(completion, [], [ANSWER] * len(ids))
    if not completion.well_formed or completion.close < len(prefill):  # type: ignore[operator]
        completion = Completion(completion.reasoning, completion.answer, completion.close, ended, False)
        return _Sample(completion, [], token_players(tokenizer, ids, text, completion, [], prefill))
    steps = split_steps(completion.reasoning, max_steps)
    return _Sample(completion, steps, token_players(tokenizer, ids, text, completion, steps, prefill))


def _markers(tokenizer: Any) -> set[int]:
    """The special tokens but the tags, which some tokenizers have among them."""
    tags = (THINK_OPEN, THINK_CLOSE)
    named = zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
    return {number for name, number in named if name not in tags}


def own_context(row: dict[str, Any]) -> str:
    """The prompt behind which a completion's coherence is asked. Behind a borrowed block a right answer is
    unlikely by design: there it is asked behind an empty one."""
    if not borrowed(row):
        return row["prompt"]
    return row["prompt"].removesuffix(row["prefill"]) + closed_block("")


def _as_begun(row: dict[str, Any], ids: list[int], tokenizer: Any) -> list[int]:
    """The ids, or behind a forced opening of the answer those of the same text at the beginning of a line."""
    if not borrowed(row) or row["prefill"].endswith("\n"):
        return ids
    text = decode_ids(tokenizer, ids)
    return tokenizer(text.lstrip(), add_special_tokens=False)["input_ids"] or ids


def _without_steps(sample: _Sample, row: dict[str, Any], ids: list[int], tokenizer: Any) -> _Sample:
    """An incoherent completion has no format: no step is paid, every token is the answer player's."""
    old = sample.completion
    completion = Completion(old.reasoning, old.answer, old.close, old.ended, False)
    body = ids[:-1] if old.ended else ids
    players = token_players(
        tokenizer, ids, decode_ids(tokenizer, body), completion, [], row.get("prefill") or ""
    )
    return _Sample(completion, [], players)


def _scores(
    score: Callable[[list[str], list[str]], list[float]],
    chosen: list[int],
    questions: list[str],
    samples: list[_Sample],
) -> dict[int, float]:
    if not chosen:
        return {}
    scores = score([questions[n] for n in chosen], [samples[n].completion.answer for n in chosen])
    return {n: float(value) for n, value in zip(chosen, scores, strict=True)}


def _mean(x: Tensor) -> float:
    return x.double().nanmean().item()
