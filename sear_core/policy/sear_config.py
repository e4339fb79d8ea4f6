"""SEARConfig: GRPOConfig and the fields that SEAR adds; the pair of SEARTrainer.

TRL's defaults that would mislead here are restated (TRL 1.16: loss_type dapo, beta 0, scale_rewards group,
bf16 on, gradient checkpointing on).
"""

from __future__ import annotations

from dataclasses import dataclass

from trl import GRPOConfig

from sear_core.errors import InputError
from sear_core.policy.advantages import ONE_SCALAR
from sear_core.policy.balance import HIGHEST_GATE

CREDITS = ("answer", "sum", "outcome", "return", "step", "level")
EXPLORE_ON = {
    "harmful": ("harmful",),
    "harmful+ambiguous": ("harmful", "ambiguous"),
    "all": ("harmful", "ambiguous", "harmless"),
}


@dataclass
class SEARConfig(GRPOConfig):
    """The only differences from GRPOConfig; see advantages.py for what they do.

    player_scale "group" takes TRL's own advantages as both players' (credit answer): then SEARTrainer is GRPOTrainer
    to the last bit. Raises InputError for combinations that make no sense.
    """

    credit: str = "return"
    reasoning_weight: float = 0.5  # λ
    reasoning_weight_ramp: int = 0  # updates over which λ rises from 0
    player_scale: str = "running"  # batch | running | group
    sigma_floor: float = 0.1
    sigma_decay: float = 0.9
    explore_on: str = "harmful"
    explore_from: float = 0.0  # exploration's gate: from which utility of the worst category (balance.py)
    explore_at_least: float = 0.0  # share explored below which the gate is open whatever the answers are
    max_reasoning_steps: int = 8  # K
    reference_refusal: str = "Sorry, I can't help with that."
    safe_snap: float = 0.9  # TARS, arXiv 2507.00971
    coherent_from: float = 0.25
    coherence_floor: float | None = None  # nats; None: not asked (coherence.py)
    # safeguards, all off by default but the warning
    loss_per_player: bool = False  # each player's loss is a mean over its own tokens
    resample_dead_groups: int = 0  # extra generations at most, each for all groups still dead (resampling.py)
    cross_play: float = 0.0  # share of updates that answer behind other prompts' completions (cross_play.py)
    category_balance: bool = False  # the category that is answered worst weighs most (balance.py)
    validate_every: int = 0  # updates; the best checkpoint is kept (validation.py)
    validate_swapped: bool = False  # also behind the reasoning of a prompt of the other side
    weight_averaging: float = 0.0  # decay per update of an exponential mean of the weights (averaging.py)
    on_collapse: str = "warn"  # or "stop" (collapse.py)
    kl_limit: float = 1.0  # nats per token; beyond it the KL has run away
    length_buckets: int = 1  # parts of like length in which a batch goes through the model (by_length.py)

    loss_type: str = "dapo"
    beta: float = 1e-3  # TARS, arXiv 2507.00971
    scale_rewards: str = "none"  # SEAR scales by player; "group" with player_scale = "group"
    bf16: bool | None = False  # type: ignore[assignment]  # as GRPOConfig has it
    gradient_checkpointing: bool = False
    shuffle_dataset: bool | None = False  # the rows come in balanced order

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("credit", self.credit, CREDITS)
        _one_of("player_scale", self.player_scale, ("batch", "running", "group"))
        _one_of("explore_on", self.explore_on, tuple(EXPLORE_ON))
        _one_of("on_collapse", self.on_collapse, ("warn", "stop"))
        if not 0 <= self.cross_play < 1:
            raise InputError(f"cross_play = {self.cross_play}, expected a share in [0, 1)")
        if not 0 <= self.explore_from <= HIGHEST_GATE:
            raise InputError(
                f"explore_from = {self.explore_from}, expected a utility in [0, {HIGHEST_GATE}]: no higher gate opens"
            )
        if not 0 <= self.explore_at_least <= HIGHEST_GATE:
            raise InputError(
                f"explore_at_least = {self.explore_at_least}, expected a share in [0, {HIGHEST_GATE}]"
            )
        if self.explore_at_least and not self.explore_from:
            raise InputError("explore_at_least opens the gate of explore_from, which is 0: there is none")
        if self.length_buckets < 1:
            raise InputError(f"length_buckets = {self.length_buckets}, expected at least 1")
        if not 0 <= self.weight_averaging < 1:
            raise InputError(f"weight_averaging = {self.weight_averaging}, expected a decay in [0, 1)")
        if self.resample_dead_groups and self.use_vllm:
            raise InputError(
                "resample_dead_groups needs generation by transformers: TRL's vLLM backend expects whole batches"
            )
        if self.importance_sampling_level != "token" and self.credit not in ONE_SCALAR:
            raise InputError(
                f"importance_sampling_level = {self.importance_sampling_level!r} averages the ratio over "
                f"both players' tokens; credit = {self.credit!r} needs 'token'"
            )
        if self.player_scale == "group":
            if self.loss_per_player:
                raise InputError(
                    "player_scale = 'group' leaves TRL's advantages as they are; loss_per_player does not"
                )
            if self.category_balance:
                raise InputError(
                    "player_scale = 'group' leaves TRL's advantages as they are; category_balance does not"
                )
            if self.explore_from:
                raise InputError(
                    "player_scale = 'group' leaves TRL's advantages as they are; explore_from does not"
                )
            if self.credit != "answer":
                raise InputError(
                    f"player_scale = 'group' is TRL's own scaling of r_ans; "
                    f"credit = {self.credit!r} needs 'batch' or 'running'"
                )
            self.scale_rewards = "group"
        if self.mask_truncated_completions:
            raise InputError(
                "mask_truncated_completions would let the policy escape its rewards by never answering; "
                "expected False"
            )


def _one_of(name: str, value: str, names: tuple[str, ...]) -> None:
    if value not in names:
        raise InputError(f"{name} = {value!r}, expected one of {', '.join(names)}")
