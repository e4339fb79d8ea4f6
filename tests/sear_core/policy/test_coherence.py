"""A completion is as coherent as its least likely token."""

import pytest
import torch

from sear_core.chat_format import render_prompt
from sear_core.policy.coherence import CompletionLikelihood
from sear_core.policy.rollouts import score_rollout
from sear_core.policy.segments import ANSWER
from sear_core.tiny_model import build_causal_lm, build_tokenizer

TEXTS = ["how do i paint the fence?", "sure. to paint the fence, begin slowly."] * 20


@pytest.fixture(scope="module")
def judge():
    tokenizer = build_tokenizer(TEXTS, 300)
    model = build_causal_lm("llama", len(tokenizer), 32, 2, 2, 128, seed=0)
    return CompletionLikelihood(model, tokenizer, batch_size=2)


def ids_of(judge, answer):
    return [*judge.tokenizer(answer, add_special_tokens=False)["input_ids"], judge.tokenizer.eos_token_id]


def test_the_lowest_token_is_the_one_a_plain_forward_pass_finds(judge):
    prompt, after = render_prompt(judge.tokenizer, TEXTS[0]), ids_of(judge, TEXTS[1])
    before = judge.tokenizer(prompt)["input_ids"]
    with torch.inference_mode():
        scores = judge.model(torch.tensor([before + after])).logits[0].log_softmax(-1)
    by_hand = [scores[len(before) + k - 1, token].item() for k, token in enumerate(after)]
    assert judge.lowest([prompt], [after]) == pytest.approx([min(by_hand)], abs=1e-5)


def test_padding_and_company_do_not_change_a_score(judge):
    prompts = [render_prompt(judge.tokenizer, TEXTS[0])] * 3
    rows = [ids_of(judge, text) for text in ("sure.", TEXTS[1], "no")]
    alone = [judge.lowest([p], [row])[0] for p, row in zip(prompts, rows, strict=True)]
    assert judge.lowest(prompts, rows) == pytest.approx(alone, abs=1e-4)


def test_the_frozen_model_takes_no_gradient(judge):
    assert not any(parameter.requires_grad for parameter in judge.model.parameters())
    assert judge.lowest([], []) == []


class Stub:
    """Scores everything alike."""

    def score_answers(self, prompts, answers):
        return [0.0] * len(prompts)

    def score(self, prompts, answers):
        return [0.0] * len(prompts)

    def values(self, prompts, steps):
        return [[0.0] * (len(s) + 1) for s in steps]


class Floor:
    """Holds the longer completion for impossible."""

    def lowest(self, prompts, completions):
        longest = max(map(len, completions))
        return [-9.0 if len(ids) == longest else -1.0 for ids in completions]


def test_an_incoherent_answer_has_no_format_and_its_reasoning_is_not_paid(judge):
    tokenizer, end = judge.tokenizer, judge.tokenizer.eos_token_id
    texts = ["a step\n</think>\nsure.", "a step\n</think>\nsomething else altogether."]
    ids = [[*tokenizer(text, add_special_tokens=False)["input_ids"], end] for text in texts]
    rows = [{"question": "q", "prompt": "q", "category": "harmless", "prefill": ""}] * 2
    rollout, players = score_rollout(
        rows, ids, tokenizer=tokenizer, eos_token_ids=[end], harm=Stub(), helpfulness=Stub(),
        process_reward=Stub(), max_steps=4, reference_refusal="no", safe_snap=0.9, coherent_from=0.25,
        coherence=Floor(), coherence_floor=-5.0,
    )  # fmt: skip
    assert rollout.well_formed.tolist() == [True, False]
    assert rollout.reward.tolist() == [0.5, 0.0]  # as good as the reference refusal: σ(0); and f = 0
    assert 0 in players[0] and set(players[1]) == {ANSWER}
    assert rollout.values[1].isnan().all()
