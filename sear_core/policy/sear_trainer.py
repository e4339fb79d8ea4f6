"""SEARTrainer: GRPOTrainer with one advantage per token and player.

The only changes with respect to GRPOTrainer (TRL 1.16): rewards come from the harm, helpfulness and process
reward models (`_calculate_rewards`), and `advantages` has the shape (B, T)
(`_generate_and_score_completions`). Loss, generation, reference model and logging are TRL's. Both
methods are private to TRL, hence the exact pin.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import GRPOTrainer

from sear_core.policy.advantages import PlayerScale, player_advantages, reasoning_weight, token_advantages
from sear_core.policy.process_rewards import ProcessReward, load_process_reward
from sear_core.policy.rollouts import Rollout, pad_players, rollout_metrics, score_rollout
from sear_core.policy.sear_config import EXPLORE_ON, SEARConfig
from sear_core.schema import CATEGORIES

STATE_FILE = "sear_state.json"


def answer(**_: Any) -> list[float | None]:
    """Names TRL's one reward column; SEARTrainer fills it without calling this."""
    raise AssertionError("SEARTrainer computes its rewards itself")


class SEARTrainer(GRPOTrainer):
    """GRPO with competing rewards on two segments of each completion.

    harm: `score_answers(prompts, answers)` in [0, 1], `score_steps(prompts, steps)`; helpfulness:
    `score(prompts, answers)`, unbounded; process_reward: by default, the harm model's. The dataset's columns
    are prompt (rendered text), question, category, prefill. Everything else goes to GRPOTrainer.
    """

    args: SEARConfig

    def __init__(
        self,
        model: Any,
        args: SEARConfig,
        *,
        harm: Any,
        helpfulness: Any,
        process_reward: ProcessReward | None = None,
        coherence: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model=model, reward_funcs=[answer], args=args, **kwargs)
        self.harm = harm
        self.helpfulness = helpfulness
        self.coherence = coherence
        self.process_reward = process_reward or load_process_reward("harm_model", harm)
        self.player_scale = PlayerScale(
            kind="batch" if args.player_scale == "batch" else "running",
            floor=args.sigma_floor,
            decay=args.sigma_decay,
        )
        self._local: tuple[Rollout, list[list[int]]] | None = None

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):  # type: ignore[no-untyped-def]
        """(N, 1): r_ans of all processes' completions; the local parts are kept for the advantages."""
        rollout, players = score_rollout(
            inputs,
            completion_ids_list,
            tokenizer=self._tokenizer,
            eos_token_ids=self.eos_token_ids,
            harm=self.harm,
            helpfulness=self.helpfulness,
            process_reward=self.process_reward,
            max_steps=self.args.max_reasoning_steps,
            reference_refusal=self.args.reference_refusal,
            safe_snap=self.args.safe_snap,
            coherent_from=self.args.coherent_from,
            coherence=self.coherence,
            coherence_floor=-math.inf if self.args.coherence_floor is None else self.args.coherence_floor,
        )
        self._local = rollout.map(lambda x: x.to(self.accelerator.device)), players
        return gather(self._local[0].reward).unsqueeze(1)

    def _generate_and_score_completions(self, inputs):  # type: ignore[no-untyped-def]
        """TRL's output with `advantages` (B,) replaced by (B, T), aligned with completion_ids."""
        output = super()._generate_and_score_completions(inputs)
        assert self._local is not None
        (local, players), self._local = self._local, None
        assert self.model is not None
        mode = "train" if self.model.training else "eval"
        group_size = self.num_generations if mode == "train" else self.num_generations_eval
        assert group_size is not None
        # Groups may span processes: statistics over all, then this process's slice.
        everyone = local.map(gather)
        width = output["completion_ids"].size(1)
        weight = reasoning_weight(
            self.args.reasoning_weight,
            self.args.reasoning_weight_ramp,
            self.state.global_step,
            everyone.reward,
            group_size,
        )
        metrics = rollout_metrics(everyone, group_size) | {"lambda": weight}
        if self.args.player_scale == "group":
            advantages = output["advantages"].unsqueeze(1).expand(-1, width).contiguous()
        else:
            explored = [CATEGORIES.index(name) for name in EXPLORE_ON[self.args.explore_on]]
            answers, steps = player_advantages(
                everyone.reward,
                everyone.values,
                torch.isin(everyone.category, torch.tensor(explored, device=everyone.category.device)),
                credit=self.args.credit,
                weight=weight,
                group_size=group_size,
                scale=self.player_scale,
                update=mode == "train",
            )
            metrics["advantage/answer_std"] = answers.std(correction=0).item()
            paid = steps[~everyone.values[:, 1:].isnan()]
            metrics["advantage/reasoning_std"] = paid.std(correction=0).item() if len(paid) else float("nan")
            for player, square in self.player_scale.mean_squares.items():
                metrics[f"sigma/{player}"] = max(self.args.sigma_floor, square**0.5)
            start = self.accelerator.process_index * len(inputs)
            mine = slice(start, start + len(inputs))
            advantages = token_advantages(
                pad_players(players, width).to(answers.device), answers[mine], steps[mine]
            )
        output["advantages"] = advantages
        for name, value in metrics.items():
            self._metrics[mode][name].append(value)
        return output

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None is written: TRL would write one with every checkpoint."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = (
                Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            )
            (folder / STATE_FILE).write_text(json.dumps({"mean_squares": self.player_scale.mean_squares}))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            state = json.loads((Path(checkpoint) / STATE_FILE).read_text())
            self.player_scale.mean_squares = state["mean_squares"]
