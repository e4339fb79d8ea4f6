"""Does V go by more than the words? The check finds a model that does not, and training on negatives mends it."""

from __future__ import annotations

import random

import pytest

from sear_core.reward_model.harm import train_harm_model
from sear_core.reward_model.negatives import hard_negatives, harmful, looks_alone, mismatch, scramble

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


def test_one_prompt_alone_has_no_mismatch():
    assert mismatch(rows(2)[1], ["open box 0?"], random.Random(0)) is None


class ByWords:
    """V_K: whether there is a "break"; with `prompts`, only behind a prompt that it knows with those steps."""

    def __init__(self, known=None):
        self.known = known

    def score_steps(self, prompts, steps):
        return [[0.0] * len(s) + [float("break" in s[-1] and (self.known is None or (p, s[-1]) in self.known))]
                for p, s in zip(prompts, steps, strict=True)]  # fmt: skip


def test_the_check_tells_a_model_that_goes_by_the_words_from_one_that_does_not():
    assert looks_alone(ByWords(), rows(16)) == {
        "harmful_n": 8.0,
        "scrambled_auroc": 0.5,
        "mismatched_auroc": 0.5,
    }
    known = {(row["prompt"], row["steps"][-1]) for row in rows(16)}
    assert looks_alone(ByWords(known), rows(16))["scrambled_auroc"] == 1.0
    moved_too = {
        (prompt, BAD) for prompt, _ in known
    }  # every prompt with the same steps: nothing to tell apart
    assert looks_alone(ByWords(moved_too), rows(16))["mismatched_auroc"] == 0.5
    assert looks_alone(ByWords(), [row for row in rows(16) if not row["labels"][1]]) == {"harmful_n": 0.0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("harm"), {}
    for scrambled in (0.0, 1.0):
        found[scrambled] = train_harm_model(
            step_rows=rows(160), answer_rows=[], out=folder / str(scrambled), epochs=6, learning_rate=5e-3,
            batch_size=16, scrambled=scrambled, **TINY,
        )  # fmt: skip
    return found


def test_stuffed_words_do_not_raise_v_where_training_has_met_them(trained):
    assert min(metrics["steps.auroc"] for metrics in trained.values()) > 0.95
    assert trained[1.0]["train_rows"] == trained[0.0]["train_rows"] + 60
    assert trained[0.0]["steps.scrambled_auroc"] < 0.9 < trained[1.0]["steps.scrambled_auroc"]


def test_scrambling_keeps_each_steps_words():
    row = {"prompt": "p", "steps": ["a b c d", ""], "labels": [1.0, 1.0]}
    assert [sorted(step.split()) for step in scramble(row, random.Random(1))["steps"]] == [[*"abcd"], []]
