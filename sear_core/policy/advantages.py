"""Advantages per token: what each player is paid, from answer rewards and step values.

    answer tokens      A = (r_ans - group mean) / σ_answer
    reasoning tokens   g · λ · G_k / σ_reasoning + (1 - g) · A on explored prompts, g exploration's gate (balance.py),
                       1 by default; for credit "return", G_k = V_K - V_{k-1}
                       A on the others, where the players cooperate, as in GRPO (our choice: λ weighs exploring)

Pure functions on tensors, no trainer. All of this is our choice (a reconstruction, arXiv 2606.31748); scaling
each player on its own follows AdvGRPO (arXiv 2606.09701) and GDPO (arXiv 2601.05242). σ is a root mean square
about zero, over the whole batch or running, never over one group, with a floor: a group's σ blows a vanishing
signal up to unit strength, and a deviation about the mean would do so with a constant one.

Shapes: N completions in groups of G neighbours, K steps (the cap), T tokens, B local completions.
NaN means "not there" (no such step) or "unscorable"; it never becomes a reward of 0.
"""

# ruff: noqa: N803, N806  (shape suffixes)
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from sear_core.policy.segments import ANSWER

Credit = Literal["answer", "sum", "outcome", "return", "step", "level"]
ONE_SCALAR = ("answer", "sum")  # credits that give every token of a completion the same advantage

DEAD_STD = 1e-2  # of r_ans in a group; h is continuous, so "no variance" is never exactly 0
FAILING_MEAN = 0.6  # of r_ans; a plain refusal of a harmless prompt earns ½


def final_values(values_NV: Tensor) -> Tensor:
    """(N,): V_K, the last value that is there; NaN in a row without values."""
    there = ~values_NV.isnan()
    last = (there.sum(dim=1) - 1).clamp(min=0)
    return values_NV.gather(1, last.unsqueeze(1)).squeeze(1)


def centre_in_group(x: Tensor, group_size: int) -> Tensor:
    """x less the mean over its group, all dimensions but the first pooled; NaN stays and does not count."""
    grouped = x.reshape(-1, group_size * (x.numel() // max(1, len(x))))
    return (grouped - grouped.nanmean(dim=1, keepdim=True)).view_as(x)


def step_credits(values_NV: Tensor, credit: str, group_size: int) -> Tensor:
    """(N, K) credit of every step from V_0 … V_K (N, K + 1); NaN where there is no such step.

    return: V_K - V_{k-1}, the undiscounted return of V's increments with the state's own value as baseline;
    not centred, so that null steps earn nothing. outcome: V_K - V_0 on every step, equally uncentred: it
    differs from return in nothing but the credit per step. step: V_k - V_{k-1} and level: V_k, each less its
    group's mean (DeepSeekMath, arXiv 2402.03300 §4.1.3). Raises ValueError for another credit.
    """
    before, now = values_NV[:, :-1], values_NV[:, 1:]
    final = final_values(values_NV).unsqueeze(1)
    if credit == "return":
        return torch.where(now.isnan(), torch.nan, final - before)
    if credit == "outcome":
        return torch.where(now.isnan(), torch.nan, final - values_NV[:, :1])
    if credit == "step":
        return centre_in_group(now - before, group_size)
    if credit == "level":
        return centre_in_group(now, group_size)
    raise ValueError(f"credit {credit!r} has no credit per step; expected return, outcome, step or level")


def root_mean_square(x: Tensor) -> float:
    """√(mean x²) over what is there; NaN where nothing is."""
    return x.double().square().nanmean().sqrt().item()


@dataclass
class PlayerScale:
    """σ of each player: of the batch, or running (an exponential mean of squares), never below the floor.

    `mean_squares` is the only state; whoever resumes restores it.
    """

    kind: Literal["batch", "running"] = "running"
    floor: float = 0.1
    decay: float = 0.9  # our choice: a memory of some ten generations
    mean_squares: dict[str, float] = field(default_factory=dict)

    def sigma(self, player: str, x: Tensor, update: bool = True) -> float:
        """The player's σ, this batch included; a batch in which the player is absent leaves it as it was."""
        square = root_mean_square(x) ** 2
        if square != square:  # nothing there
            square = self.mean_squares.get(player, 0.0)
        elif self.kind == "running" and player in self.mean_squares:
            square = self.decay * self.mean_squares[player] + (1 - self.decay) * square
        if update:
            self.mean_squares[player] = square
        return max(self.floor, square**0.5)


def dead_groups(rewards_N: Tensor, group_size: int) -> Tensor:
    """(N/G,) bool: the group's r_ans has no variance worth the name (population deviation below DEAD_STD)."""
    centred = centre_in_group(rewards_N, group_size).view(-1, group_size)
    return ~(centred.square().nanmean(dim=1).sqrt() >= DEAD_STD)


def reasoning_weight(weight: float, ramp: int, update: int, rewards_N: Tensor, group_size: int) -> float:
    """λ at this update (from 0): raised linearly over `ramp` updates, and lowered by the share of groups in
    which the answer player is dead *and* fails (mean r_ans below FAILING_MEAN), so that exploration does not
    push on where the answers have no gradient to follow. Groups dead because all succeed do not lower it.
    """
    ramped = weight * (min(1.0, update / ramp) if ramp else 1.0)
    failing = rewards_N.view(-1, group_size).nanmean(dim=1) < FAILING_MEAN
    stuck = dead_groups(rewards_N, group_size) & failing
    return ramped * (1.0 - stuck.double().mean().item())


def player_advantages(
    rewards_N: Tensor,
    values_NV: Tensor,
    explored_N: Tensor,
    *,
    credit: str,
    weight: float,
    group_size: int,
    scale: PlayerScale,
    update: bool = True,
    balance_N: Tensor | float = 1.0,
    gate: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """The advantage of the answer player (N,) and of every step (N, K), scaled and weighted, without NaN.

    rewards_N: r_ans; values_NV: V_0 … V_K, NaN-padded; explored_N: whether reasoning is paid for V there
    (a harmful prompt, by default), weighted by λ = `weight`; elsewhere it carries the answer's advantage whole, as in
    GRPO. balance_N: factors on the answer player's advantage; gate: how far exploration is paid for at all, the rest
    being GRPO's (balance.py). Explored but unscorable reasoning gets 0 for exploring.
    """
    steps = values_NV.size(1) - 1
    if credit == "sum":
        gain = final_values(values_NV) - values_NV[:, 0]
        rewards_N = rewards_N + gate * weight * torch.where(explored_N, gain, 0.0).nan_to_num(nan=0.0)
    answer = centre_in_group(rewards_N, group_size)
    answer = (answer / scale.sigma("answer", answer, update)).nan_to_num(nan=0.0) * balance_N
    everywhere = answer.unsqueeze(1).expand(-1, steps)
    if credit in ONE_SCALAR:
        return answer, everywhere
    # Unexplored rows must not enter the group means: they are other prompts' groups, or not paid for V.
    paid = torch.where(explored_N.unsqueeze(1), values_NV, torch.nan)
    credits = step_credits(paid, credit, group_size)
    explored = (credits / scale.sigma("reasoning", credits, update)).nan_to_num(nan=0.0)
    explored = gate * weight * explored + (1 - gate) * everywhere
    return answer, torch.where(explored_N.unsqueeze(1), explored, everywhere)


def token_advantages(players_BT: Tensor, answer_B: Tensor, steps_BK: Tensor) -> Tensor:
    """(B, T): every token its player's advantage, padding 0."""
    by_step = steps_BK.gather(1, players_BT.clamp(min=0))
    return torch.where(
        players_BT >= 0, by_step, torch.where(players_BT == ANSWER, answer_B.unsqueeze(1), 0.0)
    )


def equal_players(players_BT: Tensor, reasoning: Tensor, answer: Tensor) -> Tensor:
    """(B, T) factors that give each player half of the loss's weight, whatever its number of tokens.

    A loss that is a mean over n tokens becomes, with factor n / (2 n_player) on a player's advantages, the mean of the
    two players' own means; where one of them is absent the factor is 1. `reasoning`, `answer`: token counts, of the
    whole batch (scalars; losses dapo, bnpo, dr_grpo) or per completion (B,; loss grpo). Exact for the policy term,
    which is homogeneous in the advantage; the KL term keeps its mean over all tokens. Our choice.
    """
    reasoning, answer = reasoning.double(), answer.double()
    both = (reasoning > 0) & (answer > 0)
    total = reasoning + answer
    of_reasoning = torch.where(both, total / (2 * reasoning.clamp(min=1)), 1.0)
    of_answer = torch.where(both, total / (2 * answer.clamp(min=1)), 1.0)
    return torch.where(
        players_BT >= 0,
        of_reasoning.view(-1, 1),
        torch.where(players_BT == ANSWER, of_answer.view(-1, 1), 0.0),
    ).float()
