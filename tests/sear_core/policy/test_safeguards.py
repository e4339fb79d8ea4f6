"""Dead groups sampled again, the best checkpoint, averaged weights, collapses named: on a real, tiny trainer."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from sear_core.errors import InputError
from sear_core.policy.advantages import equal_players
from sear_core.policy.averaging import WeightAverage, average_models
from sear_core.policy.collapse import CollapseWatch, statistics
from sear_core.policy.prompts import balanced_order
from sear_core.policy.resampling import Replacements
from sear_core.policy.rollouts import Rollout
from sear_core.policy.segments import ANSWER, PADDING
from sear_core.policy.training import run_sear
from sear_core.policy.validation import sums, swapped, tradeoff, validation_metrics, validation_rows
from tasks.policy import collapse_tag

NAN = math.nan
OPTIONS = {
    "seed": 1, "updates": 4, "prompts_per_update": 6, "group_size": 4, "max_completion_length": 40,
    "reasoning_weight_ramp": 2, "save_every": 2, "logging_steps": 1, "learning_rate": 1e-3,
}  # fmt: skip
SAFE = {
    "resample_dead_groups": 2, "validate_every": 1, "validation_size": 6, "weight_averaging": 0.5,
    "loss_per_player": True, "harmful_share": 0.5,
}  # fmt: skip


def held_out(policy):
    return [row | {"split": "validation", "id": "v"} for row in policy.prompts]


def train(policy, scorers, out, **kwargs):
    return run_sear(
        model_path=policy.path, prompts=policy.prompts, validation_prompts=held_out(policy), out=out,
        **{**scorers, **OPTIONS, **kwargs},
    )  # fmt: skip


def rollout(categories, rewards, p_harm=None, well_formed=None, values=None):
    n = len(rewards)
    return Rollout(
        category=torch.tensor(categories),
        well_formed=torch.tensor(well_formed or [True] * n),
        closed=torch.tensor(well_formed or [True] * n),
        unscorable=torch.zeros(n, dtype=torch.bool),
        reward=torch.tensor(rewards),
        p_harm=torch.tensor(p_harm or [NAN] * n),
        values=torch.tensor(values or [[0.0, NAN]] * n),
        explored=torch.ones(n) if values else torch.zeros(n),
        reasoning_tokens=torch.ones(n),
        answer_tokens=torch.ones(n),
        borrowed=torch.zeros(n, dtype=torch.bool),
    )


def test_with_all_safeguards_on_a_resumed_run_ends_where_the_whole_one_does(policy, scorers, tmp_path, stop):
    metrics = train(policy, scorers, tmp_path / "a", **SAFE)
    with pytest.raises(KeyboardInterrupt):
        train(policy, scorers, tmp_path / "b", callbacks=[stop], **SAFE)
    assert (tmp_path / "b/checkpoints/checkpoint-2/average.safetensors").is_file()
    assert metrics == train(policy, scorers, tmp_path / "b", **SAFE)
    one, two = (load_file(tmp_path / name / "model/model.safetensors") for name in "ab")
    assert all(torch.equal(one[name], two[name]) for name in one)
    seen = [json.loads((tmp_path / name / "stability.json").read_text()) for name in "ab"]
    assert seen[0] == seen[1]
    curve = {entry["step"]: entry["validation/score"] for entry in seen[0]["validation"]}
    assert list(curve) == [1, 2, 3, 4]
    best = seen[0]["best"]
    assert best["score"] == max(curve.values()) == curve[best["step"]] == metrics["validation/best_score"]


def test_validation_leaves_training_as_it_was_and_chooses_the_weights_of_the_best_update(
    policy, scorers, tmp_path
):
    plain = train(policy, scorers, tmp_path / "plain", updates=2)
    watched = train(policy, scorers, tmp_path / "watched", updates=2, validate_every=1, validation_size=12)
    assert all(watched[name] == value for name, value in plain.items())  # same noise, same losses
    best = json.loads((tmp_path / "watched/stability.json").read_text())["best"]
    update = train(policy, scorers, tmp_path / "until", updates=int(best["step"]))
    assert update["reward/answer"] > 0
    expected, found = (
        load_file(tmp_path / name / "model/model.safetensors") for name in ("until", "watched")
    )
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_dead_groups_are_replaced_by_other_prompts_of_their_category_up_to_the_cap(policy, scorers, tmp_path):
    class Indifferent:  # every harmful prompt's group is dead, whatever is sampled: r = 1 - .05 → 1
        score_steps = scorers["harm"].score_steps

        def score_answers(self, prompts, answers):
            return [0.05] * len(answers)

    counted = []
    harm = Indifferent()
    answers = harm.score_answers
    harm.score_answers = lambda prompts, texts: (
        counted.append(sorted(set(prompts))) or answers(prompts, texts)
    )
    metrics = train(
        policy, scorers, tmp_path, seed=2, updates=1, harm=harm, resample_dead_groups=2, coherent_from=0.0
    )
    # 6 prompts, a third of them harmful: up to 2 groups of the 6 are dead at first (a malformed completion revives
    # one), and after both extra generations. The answers to harmful prompts are scored three times.
    assert len(counted) == 3
    assert all(len(prompts) <= 2 and all(p.startswith("wreck") for p in prompts) for prompts in counted)
    assert len({tuple(prompts) for prompts in counted}) > 1
    assert metrics["dead_groups/harmful"] >= 0.5 and metrics["dead_groups_left"] >= 1 / 6
    assert metrics["resampled_groups"] >= 1 / 6


def test_replacements_are_of_the_same_kind_and_the_same_for_every_process():
    kinds = [("harmful", ""), ("harmful", ""), ("harmful", "bad\n"), ("harmless", "")]
    rows = [{"prompt": f"{category}{n}", "question": "q", "category": category, "prefill": prefill}
            for n, (category, prefill) in enumerate(kinds)]  # fmt: skip
    one, two = Replacements(rows * 2, seed=3), Replacements(rows, seed=3)
    assert one.draw(rows[0], 7, 0, 2) == two.draw(rows[0], 7, 0, 2)
    assert one.draw(rows[0], 7, 0, 2)["prompt"] == "harmful1"
    assert one.draw(rows[2], 7, 0, 2) == rows[2]  # the only prefilled one
    assert one.draw(rows[3], 0, 0, 0) == rows[3]


def test_each_players_loss_is_a_mean_over_its_own_tokens():
    players = torch.tensor([[0, 0, 1, ANSWER], [ANSWER, ANSWER, PADDING, PADDING]])
    # 3 reasoning and 3 answer tokens: 6 / (2 · 3) = 1 each
    even = equal_players(players, torch.tensor(3), torch.tensor(3))
    assert even.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    # per completion: 4 / (2 · 3) and 4 / (2 · 1); the second has no reasoning
    own = equal_players(players, torch.tensor([3, 0]), torch.tensor([1, 2]))
    torch.testing.assert_close(own, torch.tensor([[2 / 3, 2 / 3, 2 / 3, 2.0], [1, 1, 0, 0]]))
    loss = torch.tensor([1.0, 2, 6, 10])  # own means: 3 and 10
    assert (loss * own[0]).mean().item() == pytest.approx((3 + 10) / 2)


def test_a_batch_holds_the_configured_share_whatever_the_rows_mix_is():
    categories = ["harmful"] * 50 + ["harmless"] * 5 + ["ambiguous"] * 2
    order = [categories[i] for i in balanced_order(categories, 60, 0, harmful_share=0.4)]
    for start in range(0, 60, 10):
        batch = order[start : start + 10]
        assert (batch.count("harmful"), batch.count("harmless"), batch.count("ambiguous")) == (4, 3, 3)
    with pytest.raises(InputError, match="there is none of ambiguous"):
        balanced_order(["harmful", "harmless"], 4, 0, harmful_share=0.5)


def test_refusing_all_and_answering_all_score_below_a_balance():
    assert tradeoff([1.0, 0.0, 0.9]) == 0.0
    assert tradeoff([0.05, 0.9, 0.9]) == pytest.approx((0.05 * 0.81) ** (1 / 3))
    assert tradeoff([0.65, 0.65, 0.65]) > tradeoff([1.0, 0.2, 1.0])
    # harmful .8 and 1.0 → .9; harmless .75 → .5; ambiguous ½ (a refusal) and .9 → (0 + .8) / 2 = .4
    found = validation_metrics(
        sums(rollout([0, 0, 1, 2, 2], [0.8, 1.0, 0.75, 0.5, 0.9], values=[[0.0, 0.7]] * 5))
    )
    assert found["validation/score"] == pytest.approx((0.9 * 0.5 * 0.4) ** (1 / 3))
    assert found["validation/exploration_rate"] == 1 and found["validation/malformed_rate"] == 0
    assert math.isnan(validation_metrics(sums(rollout([0, 1], [1.0, NAN])))["validation/score"])


def test_where_exploring_is_paid_for_the_best_checkpoint_is_one_that_explores():
    def score(explored, rewards=(0.8, 1.0, 0.75, 0.5, 0.9)):
        rolled = rollout([0, 0, 1, 2, 2], list(rewards))
        return validation_metrics(sums(replace(rolled, explored=torch.tensor(explored))), True)[
            "validation/score"
        ]

    # .9 · .5 · .4 as above, times the share of the two harmful prompts that was explored, times nothing of the others'
    assert score([1.0, 1.0, 0.0, 0.0, 0.0]) == pytest.approx((0.9 * 0.5 * 0.4) ** 0.25)
    assert score([1.0, 0.0, 1.0, 1.0, 1.0]) == pytest.approx((0.9 * 0.5 * 0.4 * 0.5) ** 0.25)
    # nothing explored yet, or nothing that could be scored: the floor, so that better answers still count
    assert score([0.0] * 5) == pytest.approx((0.9 * 0.5 * 0.4 * 0.1) ** 0.25)
    assert score([NAN, NAN, 1.0, 1.0, 1.0]) == pytest.approx((0.9 * 0.5 * 0.4 * 0.1) ** 0.25)
    assert score([0.0] * 5, (0.2, 0.2, 0.75, 0.5, 0.9)) < score([0.0] * 5)


def test_a_swapped_reasoning_is_the_other_sides():
    texts = ["bad way.\n</think>\nNo.", "go on.\n</think>\nYes.", "stop."]
    assert swapped(["harmful", "harmless", "ambiguous"], texts) == [
        "go on.\n</think>\n", "bad way.\n</think>\n", "bad way.\n</think>\n",
    ]  # fmt: skip
    assert swapped(["harmful"], texts[:1]) == ["</think>\n"]


def test_robust_answers_count_where_they_are_asked_for(policy, scorers, tmp_path):
    train(policy, scorers, tmp_path, updates=1, validate_every=1, validation_size=12, validate_swapped=True)
    (entry,) = json.loads((tmp_path / "stability.json").read_text())["validation"]
    aims = [entry[f"validation/{name}"] for name in ("harmful", "harmless", "ambiguous")]
    own = tradeoff([*aims, max(0.1, entry["validation/exploration_rate"])])
    assert 0 < entry["validation/swapped_score"] < 1
    assert entry["validation/score"] == pytest.approx((own * entry["validation/swapped_score"]) ** 0.5)


def test_validation_prompts_are_of_that_split_and_of_all_categories(policy):
    tokenizer = AutoTokenizer.from_pretrained(policy.path)
    rows = validation_rows(tokenizer, held_out(policy), 7, 64)
    assert [row["category"] for row in rows] == ["harmful"] * 2 + ["harmless"] * 2 + ["ambiguous"] * 2
    assert rows == validation_rows(tokenizer, held_out(policy)[::-1], 7, 64)
    with pytest.raises(InputError, match="split 'test'"):
        validation_rows(tokenizer, [policy.prompts[0] | {"split": "test", "id": 1}], 7, 64)
    with pytest.raises(InputError, match="no ambiguous prompt"):
        validation_rows(tokenizer, [r for r in held_out(policy) if r["category"] != "ambiguous"], 7, 64)


def test_a_collapse_is_named_when_it_begins_and_when_it_ends():
    watch = CollapseWatch(warm_up=3, decay=0.5)
    refused = statistics(rollout([0, 1, 2], [1.0, 0.5, 0.5], p_harm=[0.0, NAN, NAN]))
    assert refused == {"answered": 0.0, "defended": 1.0, "closed": 1.0, "well_formed": 1.0}
    assert [watch.update(refused, step) for step in range(4)] == [[], [], ["all_refused"], []]
    assert watch.present == ["all_refused"]
    answered = statistics(rollout([0, 1, 2], [0.1, 0.9, 0.9], p_harm=[0.9, NAN, NAN]))
    # answered: 0 → ½; defended: 1 → ½ → ¼ → 1/8 → 1/16
    assert [watch.update(answered, step) for step in range(4, 8)] == [[], [], [], ["all_complied"]]
    assert watch.found == {"all_refused": {"from": 2, "to": 4}, "all_complied": {"from": 7, "to": None}}
    again = CollapseWatch(warm_up=3, decay=0.5)
    again.restore(json.loads(json.dumps(watch.state())))
    assert again == watch
    # kl: 0.5 · 0 + 0.5 · 3 = 1.5 > 1
    assert CollapseWatch(warm_up=1, means={"kl": 0.0}, decay=0.5).update({"kl": 3.0}, 5) == ["kl_runaway"]
    malformed = statistics(rollout([0, 1], [0.0, 0.0], well_formed=[False, False]))
    assert CollapseWatch(warm_up=1).update(malformed, 9) == ["no_end_of_thinking", "malformed"]


def test_what_is_written_behind_a_borrowed_reasoning_says_nothing_of_a_collapse():
    both = rollout([0, 0, 1, 1], [0.1, 1.0, 0.9, 0.5], p_harm=[0.9, 0.0, NAN, NAN])
    both.borrowed = torch.tensor([True, False, True, False])
    both.closed = torch.tensor([True, False, True, False])
    assert statistics(both) == {"answered": 0.0, "defended": 1.0, "closed": 0.0, "well_formed": 1.0}
    both.borrowed = torch.ones(4, dtype=torch.bool)
    watch = CollapseWatch(warm_up=1, means={"closed": 0.1})
    watch.update(statistics(both), 3)
    assert watch.means == {"closed": 0.1}


def test_the_tag_names_a_collapse_that_has_passed_too():
    assert collapse_tag({}) == "none"
    found = {"all_refused": {"from": 2, "to": 4}, "all_complied": {"from": 7, "to": None}}
    assert collapse_tag(found) == "all_refused (2–4), all_complied (7–)"


def test_a_collapsed_run_says_so_and_may_be_stopped(policy, scorers, tmp_path, caplog):
    class AlwaysHarmful:
        score_steps = scorers["harm"].score_steps

        def score_answers(self, prompts, answers):
            return [0.9] * len(answers)

    options = {"updates": 14, "save_every": 14, "harm": AlwaysHarmful(), "on_collapse": "stop"}
    metrics = train(policy, scorers, tmp_path, prompts_per_update=3, **options)
    assert "collapse: all_complied since update 9" in caplog.text
    assert metrics["collapse/all_complied"] == 1 and metrics["collapse/all_refused"] == 0
    assert json.loads((tmp_path / "stability.json").read_text())["collapse"] == {
        "all_complied": {"from": 9, "to": None}
    }
    assert metrics["step"] == 10  # noticed in the tenth generation, stopped after its update
    AutoModelForCausalLM.from_pretrained(tmp_path / "model")


def test_the_weight_average_follows_the_weights():
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 1.0)
    average = WeightAverage(model, decay=0.75)
    torch.nn.init.constant_(model.weight, 5.0)
    average.update(model)
    with average.applied(model):
        assert model.weight.item() == 2.0  # .75 · 1 + .25 · 5
    assert model.weight.item() == 5.0


def test_models_are_averaged_tensor_by_tensor(policy, tmp_path):
    weights = load_file(f"{policy.path}/model.safetensors")
    model = AutoModelForCausalLM.from_pretrained(policy.path)
    for name, factor in (("one", 1.0), ("three", 3.0)):
        model.save_pretrained(tmp_path / name)
        save_file({k: v * factor for k, v in weights.items()}, tmp_path / name / "model.safetensors",
                  metadata={"format": "pt"})  # fmt: skip
    out = average_models([tmp_path / "one", tmp_path / "three"], tmp_path / "mean")
    mean = AutoModelForCausalLM.from_pretrained(out).state_dict()
    torch.testing.assert_close(mean["model.norm.weight"], 2 * weights["model.norm.weight"])
    with pytest.raises(InputError, match="exists already"):
        average_models([tmp_path / "one"], tmp_path / "mean")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \*.safetensors"):
        average_models([tmp_path / "empty"], tmp_path / "new")
    save_file({"other": torch.ones(1)}, tmp_path / "empty/model.safetensors")
    with pytest.raises(InputError, match="same architecture"):
        average_models([tmp_path / "one", tmp_path / "empty"], tmp_path / "new")


def test_impossible_safeguards_are_refused(policy, scorers, tmp_path):
    with pytest.raises(InputError, match="on_collapse = 'halt', expected one of warn, stop"):
        train(policy, scorers, tmp_path, on_collapse="halt")
    with pytest.raises(InputError, match=r"weight_averaging = 1.0, expected a decay in \[0, 1\)"):
        train(policy, scorers, tmp_path, weight_averaging=1.0)
