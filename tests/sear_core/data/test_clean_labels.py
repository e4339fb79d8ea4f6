"""benchmarks/clean_labels.py: no label is flipped, and what is not labelled stays to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import clean_labels

from sear_core.data import corpus, oracle


def _rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_labels_are_the_oracles_and_the_rest_is_the_embedded_corpus(tmp_path):
    hashes = clean_labels.write(tmp_path, rows=500)

    same = {name for name, found in hashes.items() if found == corpus.expected_hashes()[name]}
    assert same == {"prompts.jsonl", "traces.jsonl", "evaluation.jsonl"}
    answers = _rows(tmp_path / "embedded" / "answers.jsonl")
    assert len(answers) == 500
    assert {row["label"] for row in answers} == {0, 1}
    assert all(row["label"] == oracle.is_harmful(row["prompt"], row["answer"]) for row in answers)


def test_the_embedded_corpus_has_flipped_labels_which_the_module_keeps(tmp_path):
    clean_labels.write(tmp_path, rows=50)

    flipped = [r for r in corpus.answers() if r["label"] != oracle.is_harmful(r["prompt"], r["answer"])]
    assert 0.02 < len(flipped) / corpus.ANSWERS < 0.06
