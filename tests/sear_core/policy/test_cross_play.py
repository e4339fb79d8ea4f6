"""Cross-play: whose reasoning is borrowed by whom, and what is paid behind it."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from sear_core.chat_format import closed_block, render_prompt
from sear_core.errors import InputError
from sear_core.policy.cross_play import MEMORY, CrossPlay, borrowed
from sear_core.policy.process_rewards import HarmModelReward
from sear_core.policy.rollouts import score_rollout
from sear_core.policy.segments import ANSWER
from sear_core.policy.training import run_sear

OPTIONS = {
    "seed": 1, "updates": 4, "prompts_per_update": 6, "group_size": 4, "max_completion_length": 40,
    "reasoning_weight_ramp": 2, "save_every": 2, "logging_steps": 1, "learning_rate": 1e-3, "cross_play": 0.5,
}  # fmt: skip


def row(category, prefill=""):
    return {
        "prompt": f"<{category}>{prefill}",
        "question": category,
        "category": category,
        "prefill": prefill,
    }


def filled(share=0.5, seed=0):
    play = CrossPlay(share, seed)
    play.add([
        ("harmful", "ask\nplan it\n"),
        ("harmless", "help\n"),
        ("ambiguous", "it is a thing\n"),
    ])  # fmt: skip
    return play


def test_in_a_share_of_the_updates_every_group_borrows_of_the_other_side():
    play, updates = filled(), []
    possible = {
        "harmful": {closed_block(z) for z in ("help", "it is a thing", "")},
        "harmless": {closed_block(z) for z in ("ask\nplan it", "plan it", "")},
    }
    for update in range(400):
        found = {c: [play.put(row(c), update, group) for group in range(12)] for c in ("harmful", "harmless")}
        assert found["harmful"] == [
            play.put(row("harmful"), update, group) for group in range(12)
        ]  # every process
        borrowing = {borrowed(r) for rows in found.values() for r in rows}
        assert len(borrowing) == 1
        updates.append(borrowing.pop())
        if updates[-1]:
            for category, rows in found.items():
                assert all(r["prompt"] == f"<{category}>{r['prefill']}" for r in rows)
                assert {r["prefill"] for r in rows} <= possible[category]
    assert sum(updates) / 400 == pytest.approx(0.5, abs=0.08)  # three standard errors
    for category, blocks in possible.items():
        assert {play.put(row(category), 1, g)["prefill"] for g in range(900)} in ({""}, blocks)
        assert any({play.put(row(category), u, g)["prefill"] for g in range(900)} == blocks for u in range(9))


def test_nothing_is_borrowed_before_the_other_side_has_written():
    assert CrossPlay(0.9, 0).put(row("harmful"), 0, 0) == row("harmful")


def test_in_an_update_of_cross_play_a_prefill_of_the_rows_own_gives_way():
    found = filled(share=0.99).put(row("harmful", "first\n"), 0, 0)
    assert borrowed(found) and found["prompt"] == f"<harmful>{found['prefill']}"


def test_what_the_data_set_has_begun_behind_a_closed_block_stays_as_it_is():
    begun = row("harmful", closed_block("bla") + "ble,")
    assert [filled(share=0.99).put(begun, update, 0) for update in range(9)] == [begun] * 9


def test_memory_is_bounded_and_survives_a_checkpoint():
    play = filled()
    play.add(("harmful", f"z{n}\n") for n in range(2 * MEMORY))
    again = CrossPlay(0.5, 0)
    again.restore(json.loads(json.dumps(play.state())))
    assert len(again.sides[True]) == MEMORY and again.sides == play.sides
    assert [again.put(row("harmless"), 3, g) for g in range(50)] == [
        play.put(row("harmless"), 3, g) for g in range(50)
    ]


def test_behind_a_borrowed_block_the_answer_player_alone_is_paid(policy, scorers):
    """The same answer earns the same behind any block; no step has a value, and none is missed."""
    tokenizer = AutoTokenizer.from_pretrained(policy.path)
    question = policy.prompts[0]["prompt"]
    block = closed_block("bad plan.\nbad way.")
    begun = block + "Yes. First"
    rows = [
        {"prompt": render_prompt(tokenizer, question, prefill), "question": question, "category": "harmful",
         "prefill": prefill}
        for prefill in (block, "", begun)
    ]  # fmt: skip
    texts = ["No.", "bad plan.\nbad way.\n</think>\nNo.", " No."]
    ids = [
        tokenizer(text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id] for text in texts
    ]
    rollout, players = score_rollout(
        rows, ids, tokenizer=tokenizer, eos_token_ids=[tokenizer.eos_token_id], harm=scorers["harm"],
        helpfulness=scorers["helpfulness"], process_reward=HarmModelReward(scorers["harm"]), max_steps=4,
        reference_refusal="No, sorry.", safe_snap=0.9, coherent_from=0.0,
    )  # fmt: skip
    assert rollout.borrowed.tolist() == [True, False, True]
    assert players[0] == [ANSWER] * len(ids[0]) and 0 in players[1]
    assert rollout.reward.tolist() == [1.0, 1.0, 1.0]  # 1 - .05, snapped: what was forced is not judged
    assert rollout.values[0].isnan().all() and rollout.values[1][0] == 0
    assert math.isnan(rollout.explored[0]) and not rollout.unscorable.any()
    own = rollout.own()
    assert own.reward.tolist() == [1.0] and not own.borrowed.any()


def test_a_resumed_run_borrows_what_the_whole_one_does(policy, scorers, tmp_path, stop):
    def train(name, **more):
        return run_sear(
            model_path=policy.path, prompts=policy.prompts, out=tmp_path / name, **scorers, **OPTIONS, **more
        )

    metrics = train("a")
    with pytest.raises(KeyboardInterrupt):
        train("b", callbacks=[stop])
    assert metrics == train("b")
    weights = [load_file(tmp_path / name / "model/model.safetensors") for name in "ab"]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    shares = [
        e["cross_play/share"] for e in json.loads((tmp_path / "a/history.json").read_text()) if "lambda" in e
    ]
    assert shares[0] == 0 and set(shares) == {0, 1}  # nothing is there to borrow at first


def test_a_dead_group_behind_a_borrowed_block_is_not_sampled_again(policy, scorers, tmp_path, monkeypatch):
    drawn = []

    def draw(self, row, *place):
        drawn.append(row)
        return row

    monkeypatch.setattr("sear_core.policy.resampling.Replacements.draw", draw)
    options = OPTIONS | {"cross_play": 0.9, "resample_dead_groups": 1}
    run_sear(model_path=policy.path, out=tmp_path, prompts=policy.prompts, **scorers, **options)
    history = json.loads((tmp_path / "history.json").read_text())
    borrowing = [entry for entry in history if entry.get("cross_play/share") == 1.0]
    assert any(entry["dead_groups_left"] > 0 for entry in borrowing)
    assert not any("resampled_groups" in entry for entry in borrowing)  # and nothing is generated for it
    assert not any(borrowed(row) for row in drawn)


def test_a_share_of_one_is_refused(policy, scorers, tmp_path):
    options = scorers | OPTIONS | {"cross_play": 1.0}
    with pytest.raises(InputError, match=r"cross_play = 1\.0, expected a share in"):
        run_sear(model_path=policy.path, prompts=policy.prompts, out=tmp_path, **options)


def test_a_closed_block_has_exactly_one_closing_tag():
    assert closed_block("a\n</think>\nNo.") == "a\n</think>\n"
    assert closed_block("") == closed_block(" \n") == "</think>\n"
