"""Length buckets: the same log-probabilities, losses and gradients as TRL's one padded batch, up to rounding."""

import pytest
import torch
from datasets import Dataset
from torch import tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from sear_core.errors import InputError
from sear_core.policy.by_length import left_aligned, right_aligned
from sear_core.policy.prompts import training_rows
from sear_core.policy.sear_config import SEARConfig
from sear_core.policy.sear_trainer import SEARTrainer


def sear(policy, scorers, folder, **options):
    """Prompts of two lengths: every other one is begun."""
    tokenizer = AutoTokenizer.from_pretrained(policy.path, padding_side="left")
    prompts = [{**row, "prefill": "go on.\ngo on.\n" * (n % 2)} for n, row in enumerate(policy.prompts)]
    rows, _ = training_rows(tokenizer, prompts, length=12, seed=0, max_prompt_length=64)
    config = SEARConfig(
        output_dir=str(folder), per_device_train_batch_size=24, num_generations=4, max_completion_length=40,
        max_steps=1, learning_rate=1e-3, beta=0.02, logging_steps=1, save_strategy="no", report_to="none",
        disable_tqdm=True, use_cpu=True, seed=5, **options,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(policy.path, dtype=torch.float32)
    return SEARTrainer(
        model, config, **scorers, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )


def rollout_batch(trainer):
    rows = [dict(row) for row in trainer.train_dataset.select(range(6)) for _ in range(4)]
    trainer.model.train()
    return trainer._generate_and_score_completions(rows)


def test_a_rows_tokens_move_to_the_right_edge_and_its_completion_back_to_the_left():
    ids = tensor(
        [[0, 5, 6, 7, 8, 0], [1, 2, 3, 4, 0, 0]]
    )  # prompts of two columns, one of them padded on the left
    mask = tensor([[0, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0]])
    found, there = right_aligned(ids, mask, 5, padding=9)
    assert found.tolist() == [[9, 5, 6, 7, 8], [9, 1, 2, 3, 4]]
    assert there.tolist() == [[0, 1, 1, 1, 1], [0, 1, 1, 1, 1]]
    # completions of three and two tokens lie in the last columns; four were asked for
    values = tensor([[0.6, 0.7, 0.8], [0.2, 0.3, 0.4]])
    assert left_aligned(values, tensor([3, 2]), 4).tolist() == [
        pytest.approx([0.6, 0.7, 0.8, 0.0]),
        pytest.approx([0.3, 0.4, 0.0, 0.0]),
    ]


@pytest.mark.parametrize("buckets", [2, 3, 50])
def test_buckets_give_trls_log_probabilities_entropies_and_gradients(policy, scorers, tmp_path, buckets):
    trainer = sear(policy, scorers, tmp_path)
    output = rollout_batch(trainer)
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
    mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
    completion = output["completion_mask"].bool()
    assert completion.sum(dim=1).unique().numel() > 1  # there is something to sort

    def measured(parts):
        trainer.args.length_buckets = parts
        trainer.model.zero_grad()
        logps, entropies, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, mask, completion.size(1), compute_entropy=True
        )
        logps[completion].square().sum().backward()
        gradients = {name: p.grad.clone() for name, p in trainer.model.named_parameters()}
        return logps[completion], entropies[completion], gradients

    plain, bucketed = measured(1), measured(buckets)
    torch.testing.assert_close(bucketed[0], plain[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(bucketed[1], plain[1], atol=1e-5, rtol=1e-5)
    for name, gradient in plain[2].items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(bucketed[2][name], gradient, atol=1e-3, rtol=1e-3, msg=name)


def test_greedy_generation_is_the_same_and_in_the_prompts_order(policy, scorers, tmp_path):
    trainer = sear(policy, scorers, tmp_path)
    trainer.generation_config.do_sample = False
    trainer.model.eval()
    prompts = [row["prompt"] for row in trainer.train_dataset]
    ids, images, fields = trainer._tokenize_prompts(prompts)
    assert len({len(row) for row in ids}) > 1
    found = {}
    for parts in (1, 3):
        trainer.args.length_buckets = parts
        found[parts], _ = trainer._generate_single_turn(ids, images, fields, 1)
    assert found[1] == found[3]
    assert len({tuple(row) for row in found[1]}) > 1


def test_every_process_makes_as_many_calls_however_few_its_prompts(policy, scorers, tmp_path):
    """Where weights are sharded, a call that one process leaves out is waited for by all others."""
    trainer = sear(policy, scorers, tmp_path, length_buckets=3)
    trainer.model.eval()
    calls = []
    trainer.model.generate, generate = (
        lambda **call: calls.append(1) or generate(**call),
        trainer.model.generate,
    )
    ids, images, fields = trainer._tokenize_prompts([row["prompt"] for row in trainer.train_dataset])
    for number in (1, 2, 4, 12):
        calls.clear()
        found, _ = trainer._generate_single_turn(ids[:number], images, fields, 1)
        assert len(found) == number and all(found) and len(calls) == 3


def test_impossible_buckets_are_refused(policy, scorers, tmp_path):
    with pytest.raises(InputError, match="length_buckets = 0, expected at least 1"):
        sear(policy, scorers, tmp_path, length_buckets=0)
    config = GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=1)
    tokenizer = AutoTokenizer.from_pretrained(policy.path, padding_side="left")
    arguments = SEARConfig(
        output_dir=str(tmp_path), report_to="none", use_cpu=True, beta=0.0, length_buckets=2
    )
    rows = Dataset.from_list([{"prompt": "a", "question": "a", "category": "harmful", "prefill": ""}])
    with pytest.raises(InputError, match="'gpt2' without rotary positions"):
        SEARTrainer(
            GPT2LMHeadModel(config), arguments, **scorers, train_dataset=rows, processing_class=tokenizer
        )


def test_an_update_in_buckets_is_the_update_in_one(policy, scorers, tmp_path):
    """On the same recorded completions, for what is sampled may differ where two tokens are as likely as each other."""
    steps = {}
    for parts in (1, 3):
        trainer = sear(policy, scorers, tmp_path / str(parts), length_buckets=parts, player_scale="batch")
        recorded = steps.setdefault("recorded", [])
        generate = trainer._generate_single_turn

        def replayed(*call, recorded=recorded, generate=generate):
            if not recorded:
                recorded.append(generate(*call))
            return recorded[0]

        trainer._generate_single_turn = replayed
        trainer.train()
        steps[parts] = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
        steps[parts, "loss"] = next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    assert steps[3, "loss"] == pytest.approx(steps[1, "loss"], abs=1e-6)
    before = dict(AutoModelForCausalLM.from_pretrained(policy.path, dtype=torch.float32).named_parameters())
    for name, value in steps[1].items():
        moved = (value - before[name]).abs().mean()
        assert (steps[3][name] - value).abs().mean() < 0.02 * moved, name
