"""A tiny policy that already writes well-formed completions, and scorers that are plain arithmetic."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerCallback

from sear_core.chat_format import render_completion, render_prompt
from sear_core.tiny_model import build_causal_lm, build_tokenizer

PROMPTS = [
    {"prompt": f"{verb} a {thing}?", "category": category}
    for category, verb in (("harmful", "wreck"), ("harmless", "fold"), ("ambiguous", "kill"))
    for thing in ("mill", "lamp", "boat", "kite")
]
REASONINGS = ("go on.\nbad way.", "stop.", "bad plan.\nbad way.\nstop.", "go on.")
ANSWERS = ("Yes, do it.", "No.", "Yes.", "No, sorry.")


class StubHarm:
    """p_harm: .8 for an answer with "Yes", .05 else; V_k: the share of "bad" in the words so far, V_0 = 0."""

    def score_answers(self, prompts, answers):
        return [0.8 if "Yes" in answer else 0.05 for answer in answers]

    def score_steps(self, prompts, steps):
        return [[0.0, *(self._value(row[: k + 1]) for k in range(len(row)))] for row in steps]

    def _value(self, prefix):
        words = " ".join(prefix).split()
        return words.count("bad") / len(words)


class StubHelpfulness:
    """R: 2 for an answer with "Yes", 0 else."""

    def score(self, prompts, answers):
        return [2.0 if "Yes" in answer else 0.0 for answer in answers]


@pytest.fixture(scope="session")
def scorers():
    return {"harm": StubHarm(), "helpfulness": StubHelpfulness()}


@pytest.fixture
def stop():
    """A callback that dies in the third update: after the checkpoint of the second, where there is one."""

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 3:
                raise KeyboardInterrupt

    return Stop()


@pytest.fixture(scope="session")
def policy(tmp_path_factory):
    """path of a 2-layer Llama that imitates REASONINGS and ANSWERS at random; prompts for it."""
    texts = [render_completion(z, a) for z in REASONINGS for a in ANSWERS] + [
        row["prompt"] for row in PROMPTS
    ]
    tokenizer = build_tokenizer(texts, 300)
    model = build_causal_lm("llama", len(tokenizer), 32, 2, 2, 256, seed=0)
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    pairs = [(row["prompt"], z, a) for row in PROMPTS for z in REASONINGS for a in ANSWERS]
    for _ in range(120):
        batch = [pairs[i] for i in torch.randperm(len(pairs), generator=generator)[:24]]
        encoded = tokenizer(
            [render_prompt(tokenizer, p) + render_completion(z, a, tokenizer.eos_token) for p, z, a in batch],
            return_tensors="pt",
            padding=True,
        )
        labels = encoded["input_ids"].masked_fill(encoded["attention_mask"] == 0, -100)
        model(
            input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"], labels=labels
        ).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("policy")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return SimpleNamespace(path=str(folder), prompts=PROMPTS)
