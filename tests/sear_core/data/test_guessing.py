"""Columns guessed by name and values, in every format; what cannot be guessed is said."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sear_core.data.guessing import guess, guess_role
from sear_core.data.sources import Source, read_source
from sear_core.errors import InputError

ROWS = [{"Question": "how are you", "Safety": "safe"}, {"Question": "who are you", "Safety": "Unsafe"}]


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    kind, text = path.name.split(".")[1], io.StringIO()
    if kind == "jsonl":
        text.writelines(json.dumps(row) + "\n" for row in rows)
    elif kind == "json":
        json.dump(rows, text)
    elif kind != "parquet":
        writer = csv.DictWriter(text, list(rows[0]), delimiter="," if kind == "csv" else "\t")
        writer.writeheader()
        writer.writerows(rows)
    data = text.getvalue().encode()
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), whole := io.BytesIO())
        data = whole.getvalue()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize(
    "kind", ["csv", "tsv", "json", "jsonl", "parquet", "csv.gz", "jsonl.gz", "parquet.gz"]
)
def test_a_guess_reads_the_same_rows_in_every_format(tmp_path: Path, kind: str) -> None:
    path = _write(tmp_path / f"t.{kind}", ROWS)
    found = guess(path, "rl_prompts")
    assert found.columns == {"prompt": "Question", "category": "Safety"} and found.rows == 2
    assert found.values == {"category": {"safe": "harmless", "Unsafe": "harmful"}}
    source = Source("t", role="rl_prompts", path=path.name, columns=found.columns, values=found.values)
    rows, _ = read_source(source, tmp_path)
    assert [(row["prompt"], row["category"]) for row in rows] == [
        ("how are you", "harmless"), ("who are you", "harmful"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "role"),
    [
        ({"prompt": "p", "chosen": "a", "rejected": "b"}, "preferences"),
        ({"prompt": "p", "steps": ["a"], "labels": [0]}, "step_labels"),
        ({"question": "p", "response": "a", "label": 1}, "answer_labels"),
        ({"prompt": "p", "reasoning": "r", "answer": "a"}, "warm_start"),
        ({"instruction": "p"}, "rl_prompts"),
    ],
)
def test_the_table_is_guessed_by_its_columns(tmp_path: Path, row: dict[str, Any], role: str) -> None:
    path = _write(tmp_path / "t.jsonl", [row])
    assert guess_role(path) == role
    assert guess(path, role, constants={"category": "harmful"}).constants == {"category": "harmful"}


def test_labels_in_words_become_numbers_and_a_split_is_taken_over(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "answer": "a", "unsafe": "yes", "split": "dev"},
            {"prompt": "q", "answer": "b", "unsafe": "no", "split": "train"}]  # fmt: skip
    found = guess(_write(tmp_path / "t.jsonl", rows), "answer_labels", constants={"category": "harmful"})
    assert found.columns == {"prompt": "prompt", "answer": "answer", "label": "unsafe", "split": "split"}
    assert found.values == {
        "label": {"yes": 1.0, "no": 0.0}, "split": {"dev": "validation", "train": "train"},
    }  # fmt: skip


def test_an_id_that_recurs_is_no_id(tmp_path: Path) -> None:
    rows = [{"id": 1, "prompt": "p"}, {"id": 1, "prompt": "q"}]
    assert (
        "id"
        not in guess(
            _write(tmp_path / "t.jsonl", rows), "rl_prompts", constants={"category": "harmful"}
        ).columns
    )


def test_what_is_given_overrules_the_guess(tmp_path: Path) -> None:
    rows = [{"prompt": "the short one", "text": "the long one", "category": "safe"}]
    found = guess(
        _write(tmp_path / "t.jsonl", rows), "rl_prompts", {"prompt": "text"}, {"category": "ambiguous"}
    )
    assert found.columns["prompt"] == "text" and found.constants == {"category": "ambiguous"}
    assert "category" not in found.values


def test_what_cannot_be_guessed_is_asked_for_with_the_columns(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.jsonl", [{"prompt": "p", "category": "rude"}])
    with pytest.raises(InputError, match=r"which column is 'category' cannot be guessed.*give --category"):
        guess(path, "rl_prompts")
    with pytest.raises(
        InputError, match=r"which column is 'chosen' cannot be guessed; it has 'prompt', 'category'"
    ):
        guess(path, "preferences", constants={"category": "harmful"})
    with pytest.raises(InputError, match=r"no column 'promt' \(for 'prompt'\); did you mean 'prompt'"):
        guess(path, "rl_prompts", {"prompt": "promt"})


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "p", "category": "rude"}, "column 'category' holds 'rude', which is none of harmful"),
        ({"prompt": 5, "category": "safe"}, "column 'prompt' holds int, 1 filled"),
        ({"prompt": "", "category": "safe"}, "column 'prompt' is empty in every row"),
    ],
)
def test_a_column_of_the_right_name_that_does_not_fit_is_told(
    tmp_path: Path, row: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=f"cannot be guessed.*{told}"):
        guess(_write(tmp_path / "t.jsonl", [row]), "rl_prompts")
