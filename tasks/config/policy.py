"""The policy: arms are a few lines of this."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from sear_core.errors import InputError
from sear_core.policy.process_rewards import DEFAULT_TARGET, check_name
from tasks.config.base import Section
from tasks.config.model import LoraConfig

Credit = Literal["answer", "sum", "outcome", "return", "step", "level"]


class PolicyConfig(Section):
    """GRPO with SEAR's advantages. `credit` is what the reasoning tokens of a harmful prompt carry:

    answer: the answer's advantage, as plain GRPO; sum: one scalar r_ans + λ(V_K - V_0) for every token;
    outcome: V_K - V_0 on the reasoning; return: G_k = V_K - V_{k-1} on step k (the method);
    step: V_k - V_{k-1} and level: V_k, each centred within the group.
    """

    credit: Credit = "return"
    reasoning_weight: float = Field(0.5, ge=0)  # λ
    reasoning_weight_ramp: int = Field(60, ge=0)  # updates over which λ rises from 0
    scale: Literal["batch", "running"] = "running"  # each player's σ
    sigma_floor: float = Field(0.1, gt=0)
    explore_on: Literal["harmful", "harmful+ambiguous", "all"] = "harmful"
    # exploring is paid in full once the worst category's mean utility is .1 above this, before that a quarter of it,
    # and the rest as GRPO has it. 0: in full from the start
    explore_from: float = Field(0.0, ge=0, le=0.9)
    # and whatever the answers are, as the running share of explored completions falls to this. 0: off
    explore_at_least: float = Field(0.0, ge=0, le=0.9)
    max_steps: int = Field(8, gt=0)  # K, the cap on reasoning steps
    process_reward: str = "harm_model"  # or forced_answer, target_logprob, or your own as module:object
    prover: str | None = (
        None  # directory or hub name of the model behind the two; None: the frozen warm start
    )
    forced_answers: int = Field(1, ge=1)  # m, sampled after every step
    forced_answer_tokens: int = Field(32, gt=0)
    forced_answer_temperature: float = Field(1.0, ge=0)  # 0: greedy
    target_answer: str = DEFAULT_TARGET  # where no answer labelled harmful is known for a prompt
    recap_share: float = Field(0.0, ge=0, le=1)  # of harmful prompts, prefilled (RECAP, arXiv 2510.00938)
    reference_refusal: str = "Sorry, I can't help with that."
    safe_snap: float = Field(0.9, gt=0, le=1)  # s is 1 from here up (TARS)
    # a safe answer pays in full where h is at least this (a plain refusal has ½); 0: gibberish pays too
    coherent_from: float = Field(0.25, ge=0, le=0.5)
    # a completion with a token less likely than this (nats) to the frozen warm start is malformed; None: off
    coherence_floor: float | None = Field(None, lt=0)

    # of each batch, the rest harmless : ambiguous = 1 : 1 (TARS); None: the prompts' own mix
    harmful_share: float | None = Field(None, gt=0, lt=1)
    loss_per_player: bool = False  # each player's loss is a mean over its own tokens
    # extra generations at most, in which other prompts of the category replace those of dead groups
    resample_dead_groups: int = Field(0, ge=0)
    cross_play: float = Field(0.0, ge=0, lt=1)  # of the updates: answers behind other prompts' completions
    category_balance: bool = False  # the category that is answered worst weighs most
    # updates; the best checkpoint on validation prompts becomes the output. 0: the last one does
    validate_every: int = Field(0, ge=0)
    validation_size: int = Field(96, ge=3)  # prompts, evenly over the categories
    validate_swapped: bool = (
        False  # also behind the reasoning of a prompt of the other side: robustness counts
    )
    weight_averaging: float = Field(0.0, ge=0, lt=1)  # decay per update of an exponential mean; 0: off
    on_collapse: Literal["warn", "stop"] = "warn"
    kl_limit: float = Field(1.0, gt=0)  # nats per token; beyond it the KL counts as run away

    updates: int = Field(100, gt=0)
    prompts_per_update: int = Field(8, gt=0)
    group_size: int = Field(8, ge=2)  # G
    per_device_batch_size: int | None = Field(None, gt=0)  # None: all completions of an update at once
    num_iterations: int = Field(1, ge=1)
    length_buckets: int = Field(1, ge=1)  # parts of like length in which a batch is computed: less padding
    steps_per_generation: int | None = Field(None, gt=0)
    learning_rate: float = Field(2e-4, gt=0)
    beta: float = Field(0.03, ge=0)  # KL
    entropy_coef: float = Field(0.0, ge=0)
    epsilon: float = Field(0.2, gt=0)
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "dapo"
    importance_sampling_level: Literal["token", "sequence"] = "token"
    temperature: float = Field(1.0, gt=0)
    max_completion_length: int = Field(96, gt=0)
    max_prompt_length: int = Field(128, gt=0)
    save_every: int = Field(50, gt=0)
    logging_steps: int = Field(5, gt=0)
    bf16: bool = False
    lora: LoraConfig | None = None
    vllm: bool = False

    @field_validator("process_reward")
    @classmethod
    def _exists(cls, name: str) -> str:
        try:
            check_name(name)
        except InputError as error:
            raise ValueError(str(error)) from None
        return name

    @model_validator(mode="after")
    def _possible(self) -> PolicyConfig:
        if self.explore_at_least and not self.explore_from:
            raise ValueError("explore_at_least opens the gate of explore_from, which is 0: there is none")
        if self.resample_dead_groups and self.vllm:
            raise ValueError(
                "resample_dead_groups needs vllm = false: TRL's vLLM backend expects whole batches"
            )
        if self.importance_sampling_level == "sequence" and self.credit not in ("answer", "sum"):
            raise ValueError(
                f'importance_sampling_level = "sequence" averages the ratio over both players\' tokens and so '
                f'couples them; credit = "{self.credit}" needs "token"'
            )
        completions = self.prompts_per_update * self.group_size
        batch = self.per_device_batch_size or completions
        if completions % batch:
            raise ValueError(
                f"per_device_batch_size {batch} does not divide the {completions} completions of an update "
                f"(prompts_per_update × group_size)"
            )
        accumulation = completions // batch
        steps = self.steps_per_generation or accumulation
        if (steps * batch) % self.group_size:
            raise ValueError(
                f"group_size {self.group_size} is more than, or does not divide, the generation batch of "
                f"{steps * batch} completions (steps_per_generation × per_device_batch_size)"
            )
        if (self.save_every * accumulation) % (steps * self.num_iterations):
            raise ValueError(
                f"save_every {self.save_every} falls inside a generation: save_every × accumulation "
                f"({accumulation}) must be a multiple of steps_per_generation × num_iterations "
                f"({steps * self.num_iterations}), or a resumed run would lose buffered completions"
            )
        return self
