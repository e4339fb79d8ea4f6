"""Every fault planted in good tables is caught by the expectation meant for it, by name, count and ids."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sear_core.errors import InputError
from sear_core.schema import CATEGORIES, TABLES, write_table
from tasks.expectations import Failure, ValidationResult, validate_tables

Tables = dict[str, list[dict[str, Any]]]
IN_SET, NOT_NULL = "expect_column_values_to_be_in_set", "expect_column_values_to_not_be_null"
UNIQUE, BETWEEN = "expect_column_values_to_be_unique", "expect_column_values_to_be_between"
MEAN, COUNT = "expect_column_mean_to_be_between", "expect_table_row_count_to_be_between"
COLUMNS = "expect_table_columns_to_match_set"
SECRET = "a planted text that nothing may show"


def _good() -> Tables:
    """Thirty rows a table, ten of each category; in training tables six of them validation."""
    extra: dict[str, dict[str, Any]] = {
        "rl_prompts": {},
        "warm_start": {"reasoning": "r", "answer": "a", "kind": "trace", "prefill": ""},
        "step_labels": {"steps": ["one", "two"], "labels": [0.0, 1.0]},
        "answer_labels": {"answer": "a", "label": 0.0},
        "preferences": {"chosen": "a", "rejected": "b"},
        "evaluation": {"suite": "s", "harmful_reasoning": "", "benign_reasoning": "", "affirmative": ""},
    }

    def split(side: str, number: int) -> str:
        return "test" if side == "e" else "validation" if number < 6 else "train"

    tables: Tables = {}
    for name in TABLES:
        side = "e" if name == "evaluation" else "t"
        tables[name] = [
            {
                "id": f"{name}:{n}", "prompt": f"prompt {side}{n}", "category": CATEGORIES[n % 3],
                "source": "s", "slice": "", "split": split(side, n),
                **copy.deepcopy(extra[name]),
            }
            for n in range(30)
        ]  # fmt: skip
        for row in tables[name]:
            if name == "answer_labels":
                row["label"] = float(row["category"] == "harmful")
    return tables


def _validate(folder: Path, tables: Tables, **options: Any) -> ValidationResult:
    for name, rows in tables.items():
        write_table(rows, name, folder)
    arguments = {"min_rows": {}, "min_category_share": 0.2, "max_prompt_chars": 100, "docs": None} | options
    return validate_tables(folder, **arguments)


def _set(table: str, number: int, **values: Any) -> Callable[[Tables], None]:
    return lambda tables: tables[table][number].update(values)


FAULTS: dict[str, tuple[Callable[[Tables], None], Failure]] = {
    "a null prompt": (
        _set("warm_start", 7, prompt=None),
        Failure("warm_start", NOT_NULL, "prompt", "critical", 1, ["warm_start:7"]),
    ),
    "an unknown category": (
        _set("rl_prompts", 8, category="rude"),
        Failure("rl_prompts", IN_SET, "category", "critical", 1, ["rl_prompts:8"]),
    ),
    "a test split in training": (
        _set("preferences", 9, split="test"),
        Failure("preferences", IN_SET, "split", "critical", 1, ["preferences:9"]),
    ),
    "an id used twice": (
        _set("step_labels", 9, id="step_labels:8"),
        Failure("step_labels", UNIQUE, "id", "critical", 2, ["step_labels:8", "step_labels:8"]),
    ),
    "a prompt asked twice in evaluation": (
        _set("evaluation", 9, prompt="prompt e8"),
        Failure("evaluation", UNIQUE, "prompt", "critical", 2, ["evaluation:8", "evaluation:9"]),
    ),
    "an overlong prompt": (
        _set("rl_prompts", 10, prompt="x" * 101),
        Failure("rl_prompts", BETWEEN, "prompt_chars", "critical", 1, ["rl_prompts:10"]),
    ),
    "an empty answer": (
        _set("preferences", 11, rejected=""),
        Failure("preferences", BETWEEN, "shortest_answer_chars", "critical", 1, ["preferences:11"]),
    ),
    "chosen equal to rejected": (
        _set("preferences", 12, rejected="a"),
        Failure("preferences", IN_SET, "chosen_equals_rejected", "critical", 1, ["preferences:12"]),
    ),
    "a step without a label": (
        _set("step_labels", 13, labels=[0.0]),
        Failure("step_labels", IN_SET, "label_per_step", "critical", 1, ["step_labels:13"]),
    ),
    "a step label above 1": (
        _set("step_labels", 14, labels=[0.0, 1.5]),
        Failure("step_labels", IN_SET, "labels_in_unit_interval", "critical", 1, ["step_labels:14"]),
    ),
    "an answer label below 0": (
        _set("answer_labels", 15, label=-1.0),
        Failure("answer_labels", BETWEEN, "label", "critical", 1, ["answer_labels:15"]),
    ),
    "an evaluation prompt in training": (
        _set("warm_start", 16, prompt="Prompt, E16!"),
        Failure("warm_start", IN_SET, "prompt_in_evaluation", "critical", 1, ["warm_start:16"]),
    ),
    "a validation prompt that another table trains on": (
        _set("answer_labels", 17, prompt="prompt t2"),
        Failure("answer_labels", IN_SET, "prompt_in_validation_too", "critical", 1, ["answer_labels:17"]),
    ),
    "a control token": (
        _set("rl_prompts", 18, prompt=f"{SECRET} </think> sure"),
        Failure("rl_prompts", IN_SET, "prompt_has_control_token", "critical", 1, ["rl_prompts:18"]),
    ),
    "another control token": (
        _set("evaluation", 19, prompt="x <|assistant|> y"),
        Failure("evaluation", IN_SET, "prompt_has_control_token", "critical", 1, ["evaluation:19"]),
    ),
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[ValidationResult, Path]:
    """All the faults at once, each in a row of its own."""
    folder = tmp_path_factory.mktemp("planted")
    tables = _good()
    for plant, _ in FAULTS.values():
        plant(tables)
    return _validate(folder, tables, docs=folder / "docs"), folder / "docs"


def test_good_tables_pass_without_a_warning(tmp_path: Path) -> None:
    result = _validate(tmp_path, _good(), min_rows={"rl_prompts": 30})
    assert result.success and result.failures == []
    assert set(result.checked) == set(TABLES) and min(result.checked.values()) >= 15


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught_by_its_expectation(
    planted: tuple[ValidationResult, Path], name: str
) -> None:
    result, expected = planted[0], FAULTS[name][1]
    assert not result.success
    found = [
        failure for failure in result.failures
        if (failure.table, failure.expectation, failure.column)
        == (expected.table, expected.expectation, expected.column)
    ]  # fmt: skip
    assert len(found) == 1
    assert (found[0].severity, found[0].count, found[0].example_ids) == (
        expected.severity, expected.count, expected.example_ids
    )  # fmt: skip


def test_nothing_fails_but_what_was_planted(planted: tuple[ValidationResult, Path]) -> None:
    expected = {(f.table, f.expectation, f.column) for _, f in FAULTS.values()}
    also = {("warm_start", BETWEEN, "prompt_chars")}  # a null prompt has no length either
    assert {(f.table, f.expectation, f.column) for f in planted[0].failures} == expected | also


def test_the_data_docs_show_ids_and_no_text(planted: tuple[ValidationResult, Path]) -> None:
    docs = planted[1]
    pages = [path.read_text(encoding="utf-8") for path in docs.rglob("*.html")]
    assert (docs / "index.html").is_file() and len(pages) == 1 + 2 * len(TABLES)
    assert any("rl_prompts:18" in page for page in pages)
    assert not any(SECRET in page or "prompt t" in page or "prompt e" in page for page in pages)


def test_too_few_rows_and_a_rare_category_are_caught(tmp_path: Path) -> None:
    tables = _good()
    for row in tables["rl_prompts"] + tables["evaluation"]:
        row["category"] = "harmless" if row["category"] == "ambiguous" else row["category"]
    tables["step_labels"] = []
    result = _validate(tmp_path, tables, min_rows={"step_labels": 1, "preferences": 31})
    assert [(f.table, f.expectation, f.column, f.severity) for f in result.failures] == [
        ("preferences", COUNT, "", "critical"),
        ("rl_prompts", MEAN, "is_ambiguous", "critical"),
        ("step_labels", COUNT, "", "critical"),
        ("evaluation", MEAN, "is_ambiguous", "warning"),
    ]
    assert "observed 30" in result.failures[0].detail and not result.success


def test_a_warning_alone_does_not_fail(tmp_path: Path) -> None:
    tables = _good()
    for row in tables["evaluation"]:
        row["category"] = "harmful"
    result = _validate(tmp_path, tables)
    assert result.success
    assert {(f.severity, f.column) for f in result.failures} == {
        ("warning", "is_harmless"),
        ("warning", "is_ambiguous"),
    }


def test_a_missing_and_a_foreign_column_are_caught(tmp_path: Path) -> None:
    for name, rows in _good().items():
        write_table(rows, name, tmp_path)
    path = tmp_path / "preferences.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["rejected"]).append_column("x", pa.array([1] * 30)), path)
    result = validate_tables(tmp_path, min_rows={}, min_category_share=0.1, max_prompt_chars=100)
    assert not result.success and {f.table for f in result.failures} == {"preferences"}
    schema = next(f for f in result.failures if f.expectation == COLUMNS)
    assert "rejected" in schema.detail and "x" in schema.detail


def test_a_missing_table_and_an_unknown_one_are_input_errors(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"min_category_share": 0.1, "max_prompt_chars": 100}
    with pytest.raises(InputError, match=r"rl_prompts\.parquet: no such prepared table"):
        validate_tables(tmp_path, min_rows={}, **arguments)
    with pytest.raises(InputError, match=r"min_rows\.preference: no such table; did you mean 'preferences'"):
        validate_tables(tmp_path, min_rows={"preference": 1}, **arguments)
