import math

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOTrainer

from sear_core.errors import InputError
from sear_core.policy.process_rewards import HarmModelReward
from sear_core.policy.prompts import training_rows
from sear_core.policy.rollouts import score_rollout, step_histogram
from sear_core.policy.sear_config import SEARConfig
from sear_core.policy.sear_trainer import SEARTrainer
from sear_core.policy.segments import decode_ids

NAN = math.nan
COLUMNS = ("question", "category", "prefill")


def config(folder, **kwargs):
    return SEARConfig(
        **{
            "output_dir": str(folder),
            "per_device_train_batch_size": 24,
            "num_generations": 4,
            "max_completion_length": 40,
            "max_steps": 2,
            "learning_rate": 1e-3,
            "beta": 0.02,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
            "seed": 5,
            **kwargs,
        }
    )


def parts(policy):
    tokenizer = AutoTokenizer.from_pretrained(policy.path, padding_side="left")
    rows, _ = training_rows(tokenizer, policy.prompts, length=48, seed=0, max_prompt_length=64)
    model = AutoModelForCausalLM.from_pretrained(policy.path, dtype=torch.float32)
    return model, {"train_dataset": Dataset.from_list(rows), "processing_class": tokenizer}


def sear(policy, scorers, folder, **kwargs):
    model, rest = parts(policy)
    return SEARTrainer(model, config(folder, **kwargs), **scorers, **rest)


def weights(trainer):
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("loss_type", ["dapo", "grpo"])
def test_with_one_scalar_and_trls_scaling_sear_is_grpo_to_the_last_bit(policy, scorers, tmp_path, loss_type):
    options = {"credit": "answer", "player_scale": "group", "loss_type": loss_type}
    ours = sear(policy, scorers, tmp_path, **options)
    ours.train()

    args = config(tmp_path, **options)

    def answer(prompts, completions, completion_ids, **columns):
        rows = [{name: columns[name][n] for name in COLUMNS} for n in range(len(prompts))]
        rollout, _ = score_rollout(
            rows, completion_ids, tokenizer=rest["processing_class"], eos_token_ids=theirs.eos_token_ids,
            process_reward=ours.process_reward, max_steps=args.max_reasoning_steps,
            reference_refusal=args.reference_refusal, safe_snap=args.safe_snap,
            coherent_from=args.coherent_from, **scorers,
        )  # fmt: skip
        return rollout.reward.tolist()

    model, rest = parts(policy)
    theirs = GRPOTrainer(model=model, reward_funcs=[answer], args=args, **rest)
    theirs.train()

    assert losses(ours) == losses(theirs)
    assert len(losses(ours)) == 2
    before = dict(parts(policy)[0].named_parameters())
    expected = weights(theirs)
    for name, value in weights(ours).items():
        assert torch.equal(value, expected[name]), name
        assert not torch.equal(value, before[name]), f"{name} did not move"


@pytest.mark.parametrize("credit", ["return", "step", "level", "outcome", "sum"])
def test_every_parameter_moves_under_every_credit(policy, scorers, tmp_path, credit):
    trainer = sear(policy, scorers, tmp_path, credit=credit, max_steps=1)
    before = weights(trainer)
    trainer.train()
    for name, value in weights(trainer).items():
        assert value.isfinite().all() and not torch.equal(value, before[name]), name


def rollout_batch(trainer):
    rows = [dict(row) for row in trainer.train_dataset.select(range(6)) for _ in range(4)]
    trainer.model.train()
    return rows, trainer._generate_and_score_completions(rows)


def test_advantages_are_aligned_with_the_tokens(policy, scorers, tmp_path):
    trainer = sear(policy, scorers, tmp_path, reasoning_weight=1.0, player_scale="batch")
    rows, output = rollout_batch(trainer)
    ids, mask, advantages = output["completion_ids"], output["completion_mask"].bool(), output["advantages"]
    assert advantages.shape == ids.shape
    assert (advantages[~mask] == 0).all()
    tokenizer = trainer.processing_class
    checked = 0
    for row, row_ids, row_mask, adv in zip(rows, ids, mask, advantages, strict=True):
        tokens = row_ids[row_mask].tolist()
        text = decode_ids(tokenizer, tokens[:-1])
        if (
            row["category"] != "harmful"
            or tokens[-1] != tokenizer.eos_token_id
            or text.count("</think>") != 1
        ):
            continue
        first_tag = next(
            t for t in range(len(tokens)) if "</think>" in decode_ids(tokenizer, tokens[: t + 1])
        )
        answer = adv[first_tag : len(tokens)]
        assert (answer == answer[0]).all()  # one scalar for the answer
        lines = text.split("</think>")[0].strip().split("\n")
        # V: share of "bad" among the words; V_K = 0 where it never comes, and then no step is credited
        if not any("bad" in line for line in lines):
            assert (adv[: first_tag - 5] == 0).all()
            checked += 1
        elif len(lines) == 2:
            assert adv[0] != 0
            checked += 1
    assert checked >= 3


def test_a_completion_that_never_closes_is_pushed_down_as_a_whole(policy, scorers, tmp_path):
    trainer = sear(policy, scorers, tmp_path, beta=0.0)
    sample = trainer._generate_single_turn
    unclosed = trainer.processing_class("go on. bad way. go on.")["input_ids"]

    def never_close_the_first(*args, **kwargs):
        ids, logps = sample(*args, **kwargs)
        return [unclosed, *ids[1:]], logps

    trainer._generate_single_turn = never_close_the_first
    _, output = rollout_batch(trainer)
    length = int(output["completion_mask"][0].sum())
    assert length == len(unclosed)
    advantage = output["advantages"][0, :length]
    assert (advantage == advantage[0]).all() and advantage[0] < 0

    # The gradient of the loss by each token's log-probability is -A / normaliser > 0: descent lowers it.
    batch = {k: v[:1] if getattr(v, "ndim", 0) else v for k, v in output.items()}
    seen = {}
    compute = trainer._get_per_token_logps_and_entropies

    def keep(*args, **kwargs):
        logps, *rest = compute(*args, **kwargs)
        logps.retain_grad()
        seen["logps"] = logps
        return logps, *rest

    trainer._get_per_token_logps_and_entropies = keep
    trainer.current_gradient_accumulation_steps = 1
    trainer.compute_loss(trainer.model, batch).backward()
    gradient = seen["logps"].grad[0, :length]
    assert (gradient > 0).all()
    torch.testing.assert_close(gradient, -advantage / output["num_items_in_batch"], rtol=1e-4, atol=1e-8)


def test_two_step_accumulation_gives_one_big_batchs_advantages(policy, scorers, tmp_path):
    """Statistics are over the generation batch, so slices of it carry the same advantages."""
    big = sear(policy, scorers, tmp_path, max_steps=1)
    big.train()
    small = sear(
        policy, scorers, tmp_path, max_steps=1, per_device_train_batch_size=12, gradient_accumulation_steps=2
    )
    small.train()
    assert big.player_scale.mean_squares == small.player_scale.mean_squares
    one, two = big.state.log_history[0], small.state.log_history[0]
    for name in ("reward/answer", "reward/reasoning", "advantage/answer_std", "advantage/reasoning_std"):
        assert one[name] == two[name], name
    assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)


def test_the_metrics_say_what_the_rollouts_were(policy, scorers, tmp_path):
    trainer = sear(policy, scorers, tmp_path, max_steps=1, reasoning_weight=0.5)
    trainer.train()
    logged = trainer.state.log_history[0]
    for category in ("harmful", "harmless", "ambiguous"):
        assert 0 <= logged[f"exploration_rate/{category}"] <= 1
        assert 0 <= logged[f"dead_groups/{category}"] <= 1
    assert logged["reward/answer"] == pytest.approx(logged["rewards/answer/mean"])
    assert logged["malformed_rate"] < 0.5 and logged["end_of_thinking_rate"] > 0.5
    assert 0 <= logged["lambda"] <= 0.5
    assert logged["length/reasoning"] > 2 and logged["length/answer"] > 2
    total = logged["length/reasoning"] + logged["length/answer"]
    assert total == pytest.approx(logged["completions/mean_length"])


def test_impossible_combinations_are_refused(tmp_path):
    with pytest.raises(InputError, match="credit = 'return' needs 'token'"):
        config(tmp_path, importance_sampling_level="sequence")
    config(tmp_path, importance_sampling_level="sequence", credit="sum")
    with pytest.raises(InputError, match="mask_truncated_completions"):
        config(tmp_path, mask_truncated_completions=True)
    with pytest.raises(InputError, match="player_scale = 'group'"):
        config(tmp_path, player_scale="group")
    with pytest.raises(InputError, match="credit = 'returns', expected one of answer"):
        config(tmp_path, credit="returns")


def test_several_iterations_reuse_one_generation_with_its_advantages(policy, scorers, tmp_path):
    trainer = sear(policy, scorers, tmp_path, num_iterations=2)
    seen = []
    loss = trainer._compute_loss

    def keep(model, inputs):
        now, _, _ = trainer._get_per_token_logps_and_entropies(
            model, torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1), inputs["completion_ids"].size(1),
        )  # fmt: skip
        ratio = (now - inputs["old_per_token_logps"]).exp().detach()[inputs["completion_mask"].bool()]
        seen.append((inputs["advantages"], ratio))
        return loss(model, inputs)

    trainer._compute_loss = keep
    trainer.train()
    assert trainer.generations == 1 and len(seen) == 2
    assert torch.equal(seen[0][0], seen[1][0])
    torch.testing.assert_close(seen[0][1], torch.ones_like(seen[0][1]))  # the policy that sampled
    assert (seen[1][1] - 1).abs().max() > 1e-3  # an update later


def test_without_kl_there_is_no_reference_and_nothing_but_the_kl_term_differs(policy, scorers, tmp_path):
    """At the first update the policy is its own reference: KL and its gradient are 0, so beta changes nothing yet."""
    free = sear(policy, scorers, tmp_path, beta=0.0)
    free.train()
    tied = sear(policy, scorers, tmp_path, beta=0.5)  # made now: a trainer sets the seed when it is made
    tied.train()
    assert free.ref_model is None and tied.ref_model is not None
    first, second = free.state.log_history[:2], tied.state.log_history[:2]
    assert "kl" not in first[0] and second[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert first[0]["grad_norm"] == pytest.approx(second[0]["grad_norm"], rel=1e-3)
    assert second[1]["kl"] > 1e-5
    assert first[1]["grad_norm"] != pytest.approx(second[1]["grad_norm"], rel=1e-3)


class Unreadable:
    """Scores nothing of one question: NaN for its answers and for its steps."""

    def __init__(self, harm, question):
        self.harm, self.question = harm, question

    def score_answers(self, prompts, answers):
        return [NAN if p == self.question else v
                for p, v in zip(prompts, self.harm.score_answers(prompts, answers), strict=True)]  # fmt: skip

    def score_steps(self, prompts, steps):
        return [[NAN] * len(v) if p == self.question else v
                for p, v in zip(prompts, self.harm.score_steps(prompts, steps), strict=True)]  # fmt: skip


def test_a_prompt_that_cannot_be_scored_at_all_moves_nothing_and_is_counted(policy, scorers, tmp_path):
    trainer = sear(policy, scorers, tmp_path, player_scale="batch", reasoning_weight=1.0)
    lost = next(
        row["question"] for row in trainer.train_dataset.select(range(6)) if row["category"] == "harmful"
    )
    trainer.harm = Unreadable(scorers["harm"], lost)
    trainer.process_reward = HarmModelReward(trainer.harm)
    rows, output = rollout_batch(trainer)
    for row, advantage, mask in zip(
        rows, output["advantages"], output["completion_mask"].bool(), strict=True
    ):
        if row["question"] == lost:  # but a malformed completion is known to be worth 0, whatever its scores
            assert (advantage[mask] == 0).all()
    assert output["advantages"].isfinite().all() and (output["advantages"] != 0).any()
    assert 0 < trainer._metrics["train"]["reward/unscorable"][-1] <= 4 / 24


def test_where_nothing_can_be_scored_training_goes_on_without_a_pull(policy, scorers, tmp_path):
    class Nothing:
        def score_answers(self, prompts, answers):
            return [NAN] * len(answers)

        def score_steps(self, prompts, steps):
            return [[NAN] * (len(row) + 1) for row in steps]

        def score(self, prompts, answers):
            return [NAN] * len(answers)

    trainer = sear(policy, {"harm": Nothing(), "helpfulness": Nothing()}, tmp_path, max_steps=1, beta=0.0)
    before = weights(trainer)
    trainer.train()
    logged = trainer.state.log_history[0]
    if logged["malformed_rate"] == 0:
        assert all(torch.equal(value, before[name]) for name, value in weights(trainer).items())
    assert all(value.isfinite().all() for value in weights(trainer).values())
    assert logged["reward/unscorable"] == pytest.approx(1 - logged["malformed_rate"])
    assert logged["exploration_rate/harmful"] is None  # not measured, not 0


def test_the_histogram_of_step_rewards_adds_up():
    found = step_histogram(torch.tensor([-0.9, -0.05, 0.0, 0.01, 0.3, 2.0]))
    # edges -.5 -.2 -.05 .05 .2 .5, upper ones inclusive
    assert found == {
        "step_reward/below_-0.5": pytest.approx(1 / 6), "step_reward/-0.5_to_-0.2": 0,
        "step_reward/-0.2_to_-0.05": pytest.approx(1 / 6), "step_reward/-0.05_to_0.05": pytest.approx(2 / 6),
        "step_reward/0.05_to_0.2": 0, "step_reward/0.2_to_0.5": pytest.approx(1 / 6),
        "step_reward/above_0.5": pytest.approx(1 / 6),
    }  # fmt: skip
    assert all(value != value for value in step_histogram(torch.zeros(0)).values())


def test_both_players_are_in_the_log(policy, scorers, tmp_path):
    trainer = sear(policy, scorers, tmp_path, max_steps=1)
    trainer.train()
    logged = trainer.state.log_history[0]
    names = {"reward/answer", "reward/reasoning", "advantage/answer_mean", "advantage/answer_std", "flip_rate",
             "advantage/reasoning_mean", "advantage/reasoning_std", "length/answer", "length/reasoning",
             "end_of_thinking_rate", "malformed_rate", "exploration_rate/harmful", "step_reward/above_0.5"}  # fmt: skip
    assert names <= logged.keys()
    assert logged["advantage/answer_mean"] == pytest.approx(0, abs=1e-6)  # centred in every group
