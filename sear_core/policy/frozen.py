"""What a training run loads beside the policy and never trains: the starting model once more, or a prover."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from sear_core.loading import load_causal_lm, load_tokenizer
from sear_core.policy.process_rewards import (
    DEFAULT_TARGET,
    ForcedAnswerReward,
    HarmModelReward,
    ProcessReward,
    TargetLogprobReward,
    check_name,
    load_plug_in,
)
from sear_core.policy.prover import Prover


class FrozenModels:
    """Models on the training device, each loaded once, when it is first asked for."""

    def __init__(self, *, dtype: str = "float32", trust_remote_code: bool = False) -> None:
        self.options: dict[str, Any] = {"dtype": dtype, "trust_remote_code": trust_remote_code}
        self._loaded: dict[str, tuple[Any, Any]] = {}

    def get(self, path: str) -> tuple[Any, Any]:
        """(model, tokenizer) of a directory or hub name. Raises InputError where it cannot be loaded."""
        if path not in self._loaded:
            model: Any = load_causal_lm(path, **self.options)
            tokenizer = load_tokenizer(path, trust_remote_code=self.options["trust_remote_code"])
            self._loaded[path] = model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer
        return self._loaded[path]


def build_process_reward(
    name: str,
    harm: Any,
    models: FrozenModels,
    prover: str,
    *,
    forced_answers: int = 1,
    forced_answer_tokens: int = 32,
    forced_answer_temperature: float = 1.0,
    target_answers: Mapping[str, str] | None = None,
    target_answer: str = DEFAULT_TARGET,
) -> ProcessReward:
    """The process reward of that name: one of process_rewards.NAMES, or a plug-in, `module:object`.

    harm: the loaded harm model; prover: path of the model behind `forced_answer` and `target_logprob`. Raises
    InputError where there is none of that name.
    """
    check_name(name)
    if name == "harm_model":
        return HarmModelReward(harm)
    if ":" in name:
        return load_plug_in(name)
    with_cache = Prover(*models.get(prover))
    if name == "target_logprob":
        return TargetLogprobReward(with_cache, target_answers or {}, target_answer)
    return ForcedAnswerReward(
        with_cache, harm, samples=forced_answers, max_new_tokens=forced_answer_tokens,
        temperature=forced_answer_temperature,
    )  # fmt: skip
