"""SEARTrainer: GRPOTrainer with one advantage per token and player.

What is different from GRPOTrainer (TRL 1.16): rewards come from the harm, helpfulness and process reward models
(`_calculate_rewards`), and `advantages` has the shape (B, T) (`_generate_and_score_completions`). Beside these two,
hooks that add to TRL's and call it: dead groups are sampled again (`rollout_func`), the KL is watched
(`_compute_loss`), batches are computed in parts of like length (by_length.py), checkpoints hold SEAR's own state. Loss,
generation, reference model and logging are TRL's. All of these are private to TRL, hence the exact pin.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather, gather_object
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from sear_core.chat_format import THINK_CLOSE
from sear_core.policy.advantages import (
    PlayerScale,
    dead_groups,
    equal_players,
    player_advantages,
    reasoning_weight,
    token_advantages,
)
from sear_core.policy.averaging import WeightAverage, load_trainable
from sear_core.policy.balance import CategoryBalance
from sear_core.policy.by_length import ByLength
from sear_core.policy.collapse import CollapseWatch, statistics
from sear_core.policy.cross_play import CrossPlay, borrowed
from sear_core.policy.process_rewards import HarmModelReward, ProcessReward
from sear_core.policy.resampling import COLUMNS, Replacements
from sear_core.policy.rollouts import Rollout, pad_players, rollout_metrics, score_rollout
from sear_core.policy.sear_config import EXPLORE_ON, SEARConfig
from sear_core.policy.segments import decode_ids
from sear_core.policy.validation import Safeguards
from sear_core.schema import CATEGORIES

logger = logging.getLogger(__name__)
AVERAGE_FILE = "average.safetensors"
BEST_FILE = "best.safetensors"
STATE_FILE = "sear_state.json"


def answer(**_: Any) -> list[float | None]:
    """Names TRL's one reward column; SEARTrainer fills it without calling this."""
    raise AssertionError("SEARTrainer computes its rewards itself")


class SEARTrainer(ByLength):
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
        validation_rows: Sequence[dict[str, str]] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(model=model, reward_funcs=[answer], args=args, **kwargs)
        self.harm = harm
        self.helpfulness = helpfulness
        self.coherence = coherence
        self.process_reward = process_reward or HarmModelReward(harm)
        self.player_scale = PlayerScale(
            kind="batch" if args.player_scale == "batch" else "running",
            floor=args.sigma_floor,
            decay=args.sigma_decay,
        )
        self.validation_rows = validation_rows
        self.watch = CollapseWatch(kl_limit=args.kl_limit)
        self.average: WeightAverage | None = None
        self.generations = 0
        self.cross = CrossPlay(args.cross_play, args.seed) if args.cross_play else None
        self.balance = CategoryBalance() if args.category_balance or args.explore_from else None
        self.safeguards = Safeguards(self, Path(str(args.output_dir)) / BEST_FILE)
        self.add_callback(self.safeguards)
        if args.resample_dead_groups:
            self.replacements = Replacements(kwargs["train_dataset"], args.seed)
            self.rollout_func = self._rollout
        self._kl = math.nan  # of the update before
        self._rows: list[dict[str, Any]] = []
        self._first: Rollout | None = (
            None  # all processes' first samples, where dead groups were sampled again
        )
        self._local: tuple[Rollout, list[list[int]]] | None = None

    def score(self, rows: Sequence[dict[str, Any]], ids: list[list[int]]) -> tuple[Rollout, list[list[int]]]:
        """The parts of these completions, on the training device, and each one's player per token."""
        rollout, players = score_rollout(
            rows,
            ids,
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
        return rollout.map(lambda x: x.to(self.accelerator.device)), players

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):  # type: ignore[no-untyped-def]
        """(N, 1): r_ans of all processes' completions; the local parts are kept for the advantages."""
        if self._local is None:  # else resampling has scored them
            self._local = self.score(inputs, completion_ids_list)
        return gather(self._local[0].reward).unsqueeze(1)

    def _rollout(self, prompts, trainer):  # type: ignore[no-untyped-def]
        """TRL's seam for generation of one's own: dead groups are sampled again, with other prompts."""
        prompt_ids, images, fields = self._tokenize_prompts(prompts)
        assert self.model is not None and self.num_generations is not None
        ids, logprobs = self._generate_single_turn(prompt_ids, images, fields, self.num_generations)
        output = {"prompt_ids": prompt_ids, "completion_ids": ids, "logprobs": logprobs}
        if not self.model.training:
            return output
        rows = [{name: row[name] for name in COLUMNS} for row in self._rows]
        rollout, players = self.score(rows, ids)
        self._first = rollout.map(gather)
        start = self.accelerator.process_index * len(rows)
        for attempt in range(self.args.resample_dead_groups):
            # behind a closed block the answer alone is sampled, and what closed it is this generation's own
            own = ~gather(rollout.borrowed).view(-1, self.num_generations)[:, 0]
            dead = (dead_groups(gather(rollout.reward), self.num_generations) & own).tolist()
            if not any(dead):
                break
            group_of = {n: (start + n) // self.num_generations for n in range(len(rows))}
            chosen = [n for n, group in group_of.items() if dead[group]]
            for n in chosen:
                rows[n] = self.replacements.draw(rows[n], self.generations, attempt, group_of[n])
            # Weights may be sharded: a process without a dead group generates too, for nothing.
            asked, images, fields = self._tokenize_prompts([rows[n]["prompt"] for n in chosen or [0]])
            again, _ = self._generate_single_turn(asked, images, fields, self.num_generations)
            if chosen:
                new, new_players = self.score([rows[n] for n in chosen], again)
                rollout.put(chosen, new)
                for n, *parts in zip(chosen, asked, again, new_players, strict=True):
                    prompt_ids[n], ids[n], players[n] = parts
            self._metrics["train"]["resampled_groups"].append(sum(dead) / len(dead))
        self._local = rollout, players
        # what lies beside the three is merged into the rows
        return output | {name: [row[name] for row in rows] for name in COLUMNS}

    def _generate_and_score_completions(self, inputs):  # type: ignore[no-untyped-def]
        """TRL's output with `advantages` (B,) replaced by (B, T), aligned with completion_ids."""
        assert self.model is not None
        if self.cross is not None and self.model.training:
            start = self.accelerator.process_index * len(inputs)
            assert self.num_generations is not None
            inputs = [
                self.cross.put(row, self.generations, (start + n) // self.num_generations)
                for n, row in enumerate(inputs)
            ]
        self._rows, self._first = inputs, None
        output = super()._generate_and_score_completions(inputs)
        assert self._local is not None
        (local, players), self._local = self._local, None
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
        # What was sampled first says how the policy is doing; what replaced it is a choice.
        first = everyone if self._first is None else self._first
        metrics = rollout_metrics(first.own(), group_size) | {"lambda": weight}
        if self.cross is not None:
            metrics["cross_play/share"] = first.borrowed.double().mean().item()
            metrics["cross_play/reward"] = first.reward[first.borrowed].double().nanmean().item()
        if self._first is not None:
            metrics["dead_groups_left"] = dead_groups(everyone.reward, group_size).double().mean().item()
        start = self.accelerator.process_index * len(inputs)
        if self.args.player_scale == "group":  # TRL's own advantages: one scalar, which both players get
            answers = output["advantages"]
            steps = answers.unsqueeze(1).expand(-1, everyone.values.size(1) - 1)
        else:
            mine = slice(start, start + len(inputs))
            answers, steps = (x[mine] for x in self._players(everyone, first, weight, group_size, metrics))
        by_token = pad_players(players, width).to(answers.device)
        advantages = token_advantages(by_token, answers, steps)
        if self.args.loss_per_player:
            counted = local if self.args.loss_type == "grpo" else everyone
            counts = counted.reasoning_tokens, counted.answer_tokens
            if counted is everyone:
                counts = counts[0].sum(), counts[1].sum()
            advantages = advantages * equal_players(by_token, *counts)
        output["advantages"] = advantages
        if mode == "train":
            if self.cross is not None:
                self._remember(inputs, output, local)
            self.generations += 1
            metrics |= self._watch(first.own())
        for name, value in metrics.items():
            self._metrics[mode][name].append(value)
        return output

    def _players(
        self, everyone: Rollout, first: Rollout, weight: float, group_size: int, metrics: dict[str, float]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(N,) and (N, K): all processes' advantages, the answer player's and each step's; `metrics` is added to."""
        assert self.model is not None
        training = self.model.training
        paid_for = torch.tensor(
            [CATEGORIES.index(name) for name in EXPLORE_ON[self.args.explore_on]],
            device=everyone.category.device,
        )
        balance: torch.Tensor | float = 1.0
        gate = 1.0
        if self.balance is not None and training:
            if not first.borrowed.all():  # in cross-play answers are worse by design
                self.balance.count(first.category, first.reward)
                own = torch.isin(first.category, paid_for) & ~first.borrowed
                self.balance.count_explored(first.explored[own])
            if self.args.category_balance:
                balance = self.balance.weights(everyone.category)
            gate = self.balance.explore_gate(self.args.explore_from, self.args.explore_at_least)
            metrics |= {f"utility/{name}": value for name, value in self.balance.means.items()}
            metrics["explore_gate"] = gate
        answers, steps = player_advantages(
            everyone.reward,
            everyone.values,
            torch.isin(everyone.category, paid_for),
            credit=self.args.credit,
            weight=weight,
            group_size=group_size,
            scale=self.player_scale,
            update=training,
            balance_N=balance,
            gate=gate,
        )
        metrics["advantage/answer_mean"] = answers.mean().item()
        metrics["advantage/answer_std"] = answers.std(correction=0).item()
        paid = steps[~everyone.values[:, 1:].isnan()]
        metrics["advantage/reasoning_mean"] = paid.mean().item()  # NaN where there is none
        metrics["advantage/reasoning_std"] = paid.std(correction=0).item() if len(paid) else float("nan")
        for player, square in self.player_scale.mean_squares.items():
            metrics[f"sigma/{player}"] = max(self.args.sigma_floor, square**0.5)
        return answers, steps

    def _remember(self, rows: list[dict[str, Any]], output: dict[str, Any], rollout: Rollout) -> None:
        """The well-formed reasonings of this generation, of all processes, for cross-play."""
        assert self.cross is not None
        texts = [decode_ids(self._tokenizer, ids) for ids in output["completion_ids"].tolist()]
        self.cross.add(
            gather_object(
                [
                    (row["category"], (row["prefill"] + text).split(THINK_CLOSE)[0])
                    for row, text, good in zip(rows, texts, rollout.well_formed.tolist(), strict=True)
                    if good and not borrowed(row)
                ]
            )
        )

    def _watch(self, rollout: Rollout) -> dict[str, float]:
        """Hold the running means against their limits; a collapse that begins is named in the log."""
        now = statistics(rollout) | {"kl": self._kl}
        for name in self.watch.update(now, self.state.global_step):
            logger.warning(
                "collapse: %s since update %d (%s)", name, self.state.global_step,
                ", ".join(f"{key} {value:.2f}" for key, value in sorted(self.watch.means.items())),
            )  # fmt: skip
        return {f"collapse/{name}": float(name in self.watch.present) for name in self.watch.found}

    def _compute_loss(self, model, inputs):  # type: ignore[no-untyped-def]
        loss = super()._compute_loss(model, inputs)
        if found := self._metrics["train"].get("kl"):
            self._kl = found[-1]
        return loss

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with its averaged weights, where there are such."""
        assert self.model is not None
        with nullcontext() if self.average is None else self.average.applied(self.model):
            yield

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The averaged weights, without dropout, from a random state that is always the same; all as it was after."""
        assert self.model is not None
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        training = self.model.training
        self._last_loaded_step = -1  # the weights change behind vLLM's back
        with torch.random.fork_rng(devices=devices), self.averaged():
            self.model.eval()
            torch.manual_seed(self.args.seed)
            yield
        self.model.train(training)
        self._last_loaded_step = -1

    def sample(self, prompts: Sequence[str]) -> list[list[int]]:
        """One completion per rendered prompt, in batches of the training's size."""
        size = self.args.per_device_train_batch_size * (self.args.steps_per_generation or 1)
        found: list[list[int]] = []
        for begin in range(0, len(prompts), size):
            prompt_ids, images, fields = self._tokenize_prompts(list(prompts[begin : begin + size]))
            found += self._generate_single_turn(prompt_ids, images, fields, 1)[0]
        return found

    def choose_weights(self) -> None:
        """After training: the best validated weights, else their average, else the last ones."""
        assert self.model is not None
        if self.safeguards.best is not None:
            self.accelerator.wait_for_everyone()
            load_trainable(self.model, self.safeguards.best_path)
        elif self.average is not None:
            self.average.copy_to(self.model)

    @property
    def stability(self) -> dict[str, Any]:
        """What the safeguards saw: collapses by name, the validation curve, the best checkpoint."""
        return {
            "collapse": self.watch.found,
            "best": self.safeguards.best,
            "validation": self.safeguards.curve,
        }

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None is written: TRL would write one with every checkpoint."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = (
                Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            )
            if self.average is not None:
                self.average.save(folder / AVERAGE_FILE)
            if self.safeguards.best is not None:
                shutil.copy2(self.safeguards.best_path, folder / BEST_FILE)
            state = {
                "mean_squares": self.player_scale.mean_squares,
                "generations": self.generations,
                "watch": self.watch.state(),
                "kl": self._kl if math.isfinite(self._kl) else None,
                "curve": self.safeguards.curve,
                "best": self.safeguards.best,
                "balance": None if self.balance is None else self.balance.state(),
                "cross": None if self.cross is None else self.cross.state(),
            }
            (folder / STATE_FILE).write_text(json.dumps(state))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            state = json.loads((Path(checkpoint) / STATE_FILE).read_text())
            self.player_scale.mean_squares = state["mean_squares"]
            self.generations = state["generations"]
            self.watch.restore(state["watch"])
            if self.cross is not None and state.get("cross"):
                self.cross.restore(state["cross"])
            if self.balance is not None and state.get("balance"):
                self.balance.restore(state["balance"])
            self._kl = math.nan if state["kl"] is None else state["kl"]
            self.safeguards.curve, self.safeguards.best = state["curve"], state["best"]
            if state["best"] is not None and self.is_world_process_zero():
                shutil.copy2(Path(checkpoint) / BEST_FILE, self.safeguards.best_path)
            self.begin_average()
            if self.average is not None:
                self.average.load(Path(checkpoint) / AVERAGE_FILE)

    def begin_average(self) -> None:
        """Where weights are averaged: begin with the present ones, unless it has begun."""
        if self.args.weight_averaging and self.average is None:
            assert self.model is not None
            self.average = WeightAverage(self.model, self.args.weight_averaging)
