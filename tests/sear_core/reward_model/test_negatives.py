"""Does V go by more than the words? The check finds a model that does not, and training on negatives mends it."""

from __future__ import annotations

import random

import pytest

from sear_core.reward_model.harm import train_harm_model
from sear_core.reward_model.negatives import apart_from_negatives, hard_negatives, harmful, mismatch, scramble

TINY = {"vocab_size": 320, "hidden_size": 32, "layers": 2, "heads": 4, "max_positions": 128, "max_length": 64}
BAD, GOOD = "then break the very thing into bits", "then fix the very thing for good"


def rows(count: int) -> list[dict]:
    """Half of them harmful, a quarter held out."""
    return [
        {
            "id": str(n), "prompt": f"open box {n // 2}?", "split": "validation" if n % 8 < 2 else "train",
            "steps": ["look at it first", BAD if n % 2 else GOOD], "labels": [0.0, float(n % 2)],
        }
        for n in range(count)
    ]  # fmt: skip


def test_negatives_are_copies_of_harmful_rows_with_labels_of_zero():
    table = rows(16)
    found = hard_negatives(table, scrambled=1.0, mismatched=0.5, seed=3)
    assert found == hard_negatives(table, scrambled=1.0, mismatched=0.5, seed=3)
    assert len(harmful(table)) == 8 and len(found) == 8 + 4
    assert all(row["labels"] == [0.0, 0.0] for row in found)
    scrambled, moved = found[:8], found[8:]
    for row in scrambled:
        assert sorted(row["steps"][1].split()) == sorted(BAD.split()) and row["steps"][1] != BAD
    originals = {(row["id"], row["prompt"]) for row in table}
    assert all(row["steps"][1] == BAD and (row["id"], row["prompt"]) not in originals for row in moved)
    assert table == rows(16)
    assert hard_negatives(table, scrambled=0.0, mismatched=0.0, seed=3) == []
    assert (
        hard_negatives([row for row in table if row["labels"][1] == 0], scrambled=1, mismatched=1, seed=3)
        == []
    )


def test_a_mismatch_is_behind_another_harmful_prompt():
    table = [*rows(16), {"id": "x", "prompt": "why?", "split": "train", "steps": [GOOD], "labels": [0.0]}]
    moved = hard_negatives(table, scrambled=0.0, mismatched=9.0, seed=0)
    assert {row["prompt"] for row in moved} == {f"open box {n}?" for n in range(8)}
    assert mismatch(rows(2)[1], ["open box 0?"], random.Random(0)) is None


def test_what_shuffling_leaves_as_it_was_is_no_negative():
    def row(*steps):
        return {"prompt": "p", "steps": list(steps), "labels": [1.0] * len(steps)}

    words = scramble(row("a b c d", ""), random.Random(1))
    assert [sorted(step.split()) for step in words["steps"]] == [[*"abcd"], []] and words["steps"][
        0
    ] != "a b c d"
    assert sorted(scramble(row("开始破坏它"), random.Random(1))["steps"][0]) == sorted("开始破坏它")
    assert scramble(row("aaa", "a"), random.Random(1)) is None
    assert hard_negatives([row("aaa")], scrambled=3.0, mismatched=0.0, seed=0) == []


class Scorer:
    """V_K by a function of (prompt, last step)."""

    def __init__(self, value):
        self.value = value

    def score_steps(self, prompts, steps):
        return [[0.0] * len(s) + [float(self.value(p, s[-1]))] for p, s in zip(prompts, steps, strict=True)]


def test_the_check_tells_a_model_that_goes_by_the_words_from_one_that_does_not():
    table = [row | {"steps": [f"{row['steps'][1]} {n // 2}"], "labels": row["labels"][1:]}
             for n, row in enumerate(rows(16))]  # fmt: skip
    known = {(row["prompt"], row["steps"][0]) for row in table}
    texts = {text for _, text in known}
    words = apart_from_negatives(Scorer(lambda prompt, text: "break" in text), table)
    assert words == {"harmful_n": 8.0, "scrambled_auroc": 0.5, "mismatched_auroc": 0.5}
    order = apart_from_negatives(Scorer(lambda prompt, text: text in texts), table)
    assert order == {"harmful_n": 8.0, "scrambled_auroc": 1.0, "mismatched_auroc": 0.5}
    prompt_too = apart_from_negatives(Scorer(lambda prompt, text: (prompt, text) in known), table)
    assert prompt_too == {"harmful_n": 8.0, "scrambled_auroc": 1.0, "mismatched_auroc": 1.0}
    assert apart_from_negatives(Scorer(len), [row for row in table if not row["labels"][0]]) == {
        "harmful_n": 0.0
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("harm"), {}
    for scrambled, mismatched in ((0.0, 0.0), (1.0, 0.0), (0.0, 0.5)):
        found[scrambled, mismatched] = train_harm_model(
            step_rows=rows(160), answer_rows=[], out=folder / f"{scrambled} {mismatched}", epochs=6,
            learning_rate=5e-3, batch_size=16, scrambled=scrambled, mismatched=mismatched, **TINY,
        )  # fmt: skip
    return found


def test_stuffed_words_do_not_raise_v_where_training_has_met_them(trained):
    plain, scrambled, mismatched = trained.values()
    assert plain["steps.auroc"] > 0.95 and scrambled["steps.auroc"] > 0.95
    assert scrambled["train_rows"] == plain["train_rows"] + 60
    assert mismatched["train_rows"] == plain["train_rows"] + 30
    assert plain["steps.scrambled_auroc"] < 0.9 < scrambled["steps.scrambled_auroc"]
