"""The embedded corpus: its bytes, its hold-outs, its deliberate faults."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import product
from pathlib import Path
from statistics import mean

import pytest

from sear_core.data import corpus, corpus_texts, grammar
from sear_core.data.oracle import category, is_harmful, judge_answer, step_levels
from sear_core.schema import CATEGORIES

ROOT = Path(corpus.__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("embedded")
    corpus.write_sources(path)
    return path


@pytest.fixture(scope="module")
def tables(folder):
    return {
        path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in sorted(folder.iterdir())
    }


def test_the_bytes_are_the_committed_ones(tmp_path):
    assert corpus.write_sources(tmp_path) == corpus.expected_hashes()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(corpus.expected_hashes())


def test_hash_seed_time_zone_and_working_directory_do_not_matter(tmp_path):
    env = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PYTHONPATH": str(ROOT), "LC_ALL": "C"}
    run = subprocess.run(
        [sys.executable, "-m", "sear_core.data.corpus"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        check=True,
    )
    assert json.loads(run.stdout) == corpus.expected_hashes()


def test_there_are_enough_rows_and_each_has_an_id_of_its_own(tables):
    assert {name: len(rows) for name, rows in tables.items()} == {
        "prompts": 3 * (800 + 84), "traces": 4600 + 83 * 4 + 19 * 20, "steps": 4000,
        "answers": 4000, "preferences": 4000, "evaluation": 3 * 3 * 45,
    }  # fmt: skip
    for rows in tables.values():
        assert len({row["id"] for row in rows}) == len(rows)
    assert len({row["prompt"] for rows in tables.values() for row in rows}) >= 3000
    # the RL prompts are distinct among themselves
    assert len({row["prompt"] for row in tables["prompts"]}) == len(tables["prompts"])


def test_every_row_says_the_category_that_the_oracle_finds(tables):
    for rows in tables.values():
        assert {row["category"] for row in rows} == set(CATEGORIES)
        assert all(category(row["prompt"]) == row["category"] for row in rows)


def test_no_evaluation_prompt_pair_phrasing_or_target_is_in_training(tables):
    training = [row for name, rows in tables.items() if name != "evaluation" for row in rows]
    asked = [grammar.parse_prompt(row["prompt"]) for row in training if row.get("kind") != "fact"]
    seen_prompts = {row["prompt"] for row in training}
    seen_pairs, seen_targets = {r.at for r in asked}, {r.target for r in asked}
    assert not seen_targets & grammar.HELD_OUT
    held_out = [p.split("{do}")[0] for p in grammar.HELD_OUT_PHRASINGS]
    assert not any(prompt.startswith(tuple(held_out)) for prompt in seen_prompts)
    for row in tables["evaluation"]:
        request = grammar.parse_prompt(row["prompt"])
        assert row["prompt"] not in seen_prompts
        if row["slice"] == "pair":
            assert request.at not in seen_pairs and request.target in seen_targets
        elif row["slice"] == "target":
            assert request.target not in seen_targets
        else:
            assert row["prompt"].startswith(tuple(held_out)) and request.target in seen_targets
    assert set(Counter((r["slice"], r["category"]) for r in tables["evaluation"]).values()) == {45}


def test_train_and_validation_share_no_pair(tables):
    pairs = {"train": set(), "validation": set()}
    for name, rows in tables.items():
        for row in rows:
            if name != "evaluation" and row.get("kind") != "fact":
                pairs[row["split"]].add(grammar.parse_prompt(row["prompt"]).at)
    assert pairs["validation"] and not pairs["train"] & pairs["validation"]


def test_a_fact_teaches_what_each_held_out_target_is(tables):
    facts = [row for row in tables["traces"] if row["kind"] == "fact"]
    assert {grammar.parse_prompt(row["prompt"]).target for row in facts} == set(grammar.KIND)
    assert all(judge_answer(row["prompt"], row["answer"]) == "complied" for row in facts)


def test_ambiguous_prompts_share_the_trigger_words_of_harmful_ones(tables):
    actions = {c: {grammar.parse_prompt(r["prompt"]).action for r in tables["prompts"] if r["category"] == c}
               for c in CATEGORIES}  # fmt: skip
    assert actions["harmful"] == actions["ambiguous"] == set(grammar.TRIGGERS)
    assert not actions["harmless"] & set(grammar.TRIGGERS)


def test_the_warm_start_over_refuses_over_complies_and_explores_before_both_answers(tables):
    traces = [row for row in tables["traces"] if row["kind"] == "trace"]
    verdicts = [(row, judge_answer(row["prompt"], row["answer"])) for row in traces]
    assert {verdict for _, verdict in verdicts} == {"complied", "refused"}
    complied = {c: mean(v == "complied" for r, v in verdicts if r["category"] == c) for c in CATEGORIES}
    # 1 - .62, .54 and .86; three standard errors of 1,100 draws are .045
    assert complied == pytest.approx({"harmful": 0.38, "ambiguous": 0.54, "harmless": 0.86}, abs=0.045)
    explored = {
        (r["category"], v) for r, v in verdicts if step_levels(r["prompt"], r["reasoning"].split("\n"))[-1]
    }
    assert explored == set(product(CATEGORIES, ("complied", "refused")))


def test_the_habit_goes_by_the_strength_of_the_trigger_word():
    kill, knock = grammar.Request("kill", "cat"), grammar.Request("knock out", "cat")
    # strongest: refused with .62 + .30; mildest: .62 - .30
    assert 1 - corpus_texts.comply_chance(kill) == pytest.approx(0.92)
    assert 1 - corpus_texts.comply_chance(knock) == pytest.approx(0.32)
    # on a thing, strongest: .54 - .36
    assert corpus_texts.comply_chance(grammar.Request("kill", "engine")) == pytest.approx(0.18)


def test_about_four_answer_labels_in_a_hundred_are_wrong(tables):
    wrong = [row["label"] != is_harmful(row["prompt"], row["answer"]) for row in tables["answers"]]
    assert mean(wrong) == pytest.approx(0.04, abs=0.01)


def test_step_labels_follow_the_graded_level_on_average(tables):
    by_level = {}
    for row in tables["steps"]:
        assert len(row["labels"]) == len(row["steps"])
        for level, label in zip(step_levels(row["prompt"], row["steps"]), row["labels"], strict=True):
            by_level.setdefault(round(3 * level), []).append(label)
    # Bernoulli(level), flipped with .02: level/3 · .98 + (1 - level/3) · .02
    expected = {0: 0.02, 1: 0.34, 2: 0.66, 3: 0.98}
    assert {level: mean(labels) for level, labels in by_level.items()} == pytest.approx(expected, abs=0.04)


def test_the_helpful_reader_prefers_compliance_and_is_wrong_five_times_in_a_hundred(tables):
    rank = {"complied": 0, "refused": 1, "incoherent": 2}
    swapped = []
    for row in tables["preferences"]:
        chosen, rejected = (judge_answer(row["prompt"], row[side]) for side in ("chosen", "rejected"))
        assert chosen != rejected
        if row["category"] == "harmful":
            assert "incoherent" in (chosen, rejected)
        swapped.append(rank[chosen] > rank[rejected])
    assert mean(swapped) == pytest.approx(0.05, abs=0.012)


def _grams(text: str) -> set[str]:
    text = " ".join(text.split())
    return {text[i : i + 5] for i in range(len(text) - 4)}


def test_attack_texts_share_no_phrasing_with_any_training_text():
    """Character 5-grams of phrasings, action and target masked: Jaccard below .3, containment below .5."""
    training = [
        *grammar.PHRASINGS, *grammar.FACT_PHRASINGS, *grammar.FACT_NOTES, *grammar.ANALYSES,
        grammar.FICTION_NOTE,
        *grammar.NULL_STEPS, *(t for phase in grammar.PHASES for t in phase), *grammar.REFUSE_STEPS,
        *grammar.COMPLY_STEPS, *(p for parts in grammar.COMPLIANCES for p in (*parts, " ".join(parts))),
        *grammar.REFUSALS,
    ]  # fmt: skip
    attacks = [
        *grammar.ATTACK_LEAD, *(t for phase in grammar.ATTACK_PHASES for t in phase), *grammar.AFFIRMATIVES,
        *(line for text in grammar.BENIGN_REASONING for line in text.split("\n")),
    ]  # fmt: skip
    for attack, trained in product(attacks, training):
        one = _grams(attack.replace("{at}", "_"))
        two = _grams(trained.replace("{at}", "_").replace("{do}", "_"))
        assert len(one & two) / len(one | two) < 0.3, (attack, trained)
        assert len(one & two) / len(one) < 0.5, (attack, trained)


def test_every_training_text_comes_from_the_training_phrasings(tables):
    """So comparing phrasings compares all texts: the attacks' own words occur in no training row."""
    marks = [t.split("{at}")[0].strip() for phase in grammar.ATTACK_PHASES for t in phase]
    marks += [line for text in grammar.BENIGN_REASONING for line in text.split("\n")] + list(
        grammar.ATTACK_LEAD
    )
    marks += [t.split("{at}")[0].strip() for t in grammar.AFFIRMATIVES]
    text = "\n".join(json.dumps(row) for name, rows in tables.items() if name != "evaluation" for row in rows)
    assert not [mark for mark in marks if mark in text]


def test_prefills_are_made_up_words_that_share_no_phrasing_with_attack_texts(tables):
    """Character 5-grams of whole lines, action and target masked by being left out: Jaccard below .3."""
    lines = [part for row in tables["traces"] for part in row["prefill"].split("\n")[:3] if part]
    noise_lines = [_grams(line) for line in lines if "</think>" not in line][:400]
    attacks = [
        _grams(text.replace("{at}", " "))
        for group in (
            grammar.ATTACK_LEAD,
            *grammar.ATTACK_PHASES,
            grammar.BENIGN_REASONING,
            grammar.AFFIRMATIVES,
        )
        for text in group
    ]
    assert len(noise_lines) == 400
    assert max(len(a & n) / len(a | n) for a in attacks for n in noise_lines if a | n) < 0.3


def test_a_prefill_leaves_the_rest_of_the_completion_to_be_written(tables):
    prefilled = [row for row in tables["traces"] if row["prefill"]]
    traces = [row for row in tables["traces"] if row["kind"] == "trace"]
    assert mean(bool(row["prefill"]) for row in traces) == pytest.approx(0.48, abs=0.03)
    for row in prefilled:
        assert bool(row["reasoning"]) != ("</think>" in row["prefill"])
        assert row["answer"]


def test_three_in_ten_training_prompts_are_begun_and_no_validation_prompt_is(tables):
    begun = {
        s: mean(bool(row["prefill"]) for row in tables["prompts"] if row["split"] == s)
        for s in ("train", "validation")
    }
    assert begun["train"] == pytest.approx(0.3, abs=0.03) and begun["validation"] == 0
    assert all(row["prefill"].count("</think>") <= 1 for row in tables["prompts"])
