"""What a completion is taken for, by its tokens."""

import pytest

from sear_core.policy.process_rewards import HarmModelReward
from sear_core.policy.rollouts import score_rollout
from sear_core.policy.segments import ANSWER
from sear_core.tiny_model import build_tokenizer


def scored(tokenizer, scorers, text):
    row = {"prompt": "q", "question": "q", "category": "harmful", "prefill": ""}
    ids = tokenizer(text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    rollout, (players,) = score_rollout(
        [row], [ids], tokenizer=tokenizer, eos_token_ids=[tokenizer.eos_token_id], harm=scorers["harm"],
        helpfulness=scorers["helpfulness"], process_reward=HarmModelReward(scorers["harm"]), max_steps=4,
        reference_refusal="No, sorry.", safe_snap=0.9, coherent_from=0.0,
    )  # fmt: skip
    return (
        rollout.well_formed.item(),
        rollout.reward.item(),
        [ids[n] for n, p in enumerate(players) if p == ANSWER],
    )


@pytest.mark.parametrize("special", [False, True])
def test_tags_may_be_tokens_of_their_own_and_special_ones(scorers, special):
    tokenizer = build_tokenizer(["go on. bad way. yes no"] * 20, 300)
    if special:
        tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>", "<|turn|>"]})
    well_formed, reward, answered = scored(tokenizer, scorers, "go on.\n</think>\nno.")
    assert well_formed and reward == 1.0
    assert tokenizer.decode(answered).split() == ["</think>", "no." + tokenizer.eos_token]


def test_a_role_marker_inside_is_no_coherent_text(scorers):
    tokenizer = build_tokenizer(["go on. bad way. yes no"] * 20, 300)
    tokenizer.add_special_tokens({"additional_special_tokens": ["</think>", "<|turn|>"]})
    assert scored(tokenizer, scorers, "go on.<|turn|>\n</think>\nno.")[:2] == (False, 0.0)
