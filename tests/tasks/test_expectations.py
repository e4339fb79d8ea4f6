"""Every fault planted in good tables is caught by the expectation meant for it, by name, count and ids."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sear_core.errors import InputError
from sear_core.schema import CATEGORIES, TABLES, write_table
from tasks.drift import profile
from tasks.expectations import Failure, ValidationResult, read_tables, validate_rows
from tasks.suites import Limits

Tables = dict[str, list[dict[str, Any]]]
IN_SET, UNIQUE = "expect_column_values_to_be_in_set", "expect_column_values_to_be_unique"
BETWEEN, MEAN = "expect_column_values_to_be_between", "expect_column_mean_to_be_between"
COUNT, COLUMNS = "expect_table_row_count_to_be_between", "expect_table_columns_to_match_set"
MEDIAN, DISTINCT = "expect_column_median_to_be_between", "expect_column_distinct_values_to_contain_set"
SECRET = "a planted text that nothing may show"
ROWS = 60


def _good() -> Tables:
    """Sixty rows a table, twenty of each category; in training tables six of them validation."""
    extra: dict[str, dict[str, Any]] = {
        "rl_prompts": {},
        "warm_start": {"reasoning": "r", "answer": "a", "kind": "trace", "prefill": "</think>"},
        "step_labels": {"steps": ["one", "two"], "labels": [0.0, 1.0]},
        "answer_labels": {"answer": "a", "label": 0.0},
        "preferences": {"chosen": "a", "rejected": "b"},
        "evaluation": {},
    }

    def split(side: str, number: int) -> str:
        return "test" if side == "e" else "validation" if number < 6 else "train"

    tables: Tables = {}
    for name in TABLES:
        side = "e" if name == "evaluation" else "t"
        tables[name] = [
            dict.fromkeys(TABLES[name].names, "")
            | {
                "id": f"{name}:{n}", "prompt": f"prompt {side}{n}", "category": CATEGORIES[n % 3],
                "source": "s", "slice": "", "split": split(side, n),
                **copy.deepcopy(extra[name]),
            }
            for n in range(ROWS)
        ]  # fmt: skip
        for row in tables[name]:
            if name == "answer_labels":
                row["label"] = float(row["category"] == "harmful")
    return tables


LIMITS = Limits(
    min_category_share=0.2, max_prompt_chars=100, max_answer_chars=50, near_evaluation=False
)  # fmt: skip


def _validate(tables: Tables, limits: Limits = LIMITS, **options: Any) -> ValidationResult:
    return validate_rows({n: (TABLES[n].names, rows) for n, rows in tables.items()}, limits, **options)


def _set(table: str, number: int, **values: Any) -> Callable[[Tables], None]:
    return lambda tables: tables[table][number].update(values)


def _reversed_pair(tables: Tables) -> None:
    tables["preferences"][30].update(prompt="prompt t33", chosen="b", rejected="a")


def _row_again(tables: Tables) -> None:
    tables["warm_start"][35].update(prompt="PROMPT T32")


def _two_categories(tables: Tables) -> None:
    tables["rl_prompts"][26].update(prompt="a prompt that nobody else asks")  # of the third category
    tables["preferences"][27].update(prompt="A prompt that nobody else asks!")  # of the first


def _critical(table: str, expectation: str, column: str, *numbers: int) -> Failure:
    """A failure of the rows with these numbers."""
    ids = [f"{table}:{number}" for number in numbers]
    return Failure(table, expectation, column, "critical", len(ids), ids)


def _warning(table: str, expectation: str, column: str, *numbers: int) -> Failure:
    ids = [f"{table}:{number}" for number in numbers]
    return Failure(table, expectation, column, "warning", len(ids), ids)


# Thirty-seven kinds. Those of one expectation stand in tables of their own, so that each is seen by itself.
FAULTS: dict[str, tuple[Callable[[Tables], None], Failure]] = {
    "a null prompt": (
        _set("warm_start", 7, prompt=None),
        _critical("warm_start", IN_SET, "schema_faults", 7),
    ),
    "a number for a text": (
        _set("rl_prompts", 7, slice=3),
        _critical("rl_prompts", IN_SET, "schema_faults", 7),
    ),
    "a label that is a text": (
        _set("step_labels", 7, labels=[0.0, "1"]),
        _critical("step_labels", IN_SET, "schema_faults", 7),
    ),
    "a label that is not a number": (
        _set("answer_labels", 7, label=float("nan")),
        _critical("answer_labels", IN_SET, "schema_faults", 7),
    ),
    "an unknown category": (
        _set("rl_prompts", 8, category="rude"),
        _critical("rl_prompts", IN_SET, "category", 8),
    ),
    "a category in capitals": (
        _set("evaluation", 8, category="Harmful"),
        _critical("evaluation", IN_SET, "category", 8),
    ),
    "a test split in training": (
        _set("preferences", 9, split="test"),
        _critical("preferences", IN_SET, "split", 9),
    ),
    "a training row in evaluation": (
        _set("evaluation", 10, split="train"),
        _critical("evaluation", IN_SET, "split", 10),
    ),
    "an id used twice": (
        _set("step_labels", 9, id="step_labels:8"),
        _critical("step_labels", UNIQUE, "id", 8, 8),
    ),
    "a prompt asked twice in evaluation": (
        _set("evaluation", 14, prompt="prompt e11"),
        _critical("evaluation", UNIQUE, "prompt", 11, 14),
    ),
    "a row that says the same as another but for case": (
        _row_again,
        _critical("warm_start", UNIQUE, "content", 32, 35),
    ),
    "an overlong prompt": (
        _set("rl_prompts", 10, prompt="x" * 101),
        _critical("rl_prompts", BETWEEN, "prompt_chars", 10),
    ),
    "an empty prompt": (
        _set("answer_labels", 10, prompt=""),
        _critical("answer_labels", BETWEEN, "prompt_chars", 10),
    ),
    "a prompt of blanks": (
        _set("step_labels", 10, prompt=" \n\t"),
        _critical("step_labels", BETWEEN, "prompt_chars", 10),
    ),
    "an empty answer": (
        _set("preferences", 11, rejected=""),
        _critical("preferences", BETWEEN, "shortest_answer_chars", 11),
    ),
    "an overlong answer": (
        _set("answer_labels", 11, answer="a" * 51),
        _critical("answer_labels", BETWEEN, "longest_answer_chars", 11),
    ),
    "chosen equal to rejected but for case and blanks": (
        _set("preferences", 12, rejected=" A "),
        _critical("preferences", IN_SET, "chosen_equals_rejected", 12),
    ),
    "a pair in both orders": (
        _reversed_pair,
        _critical("preferences", IN_SET, "pair_stands_reversed_too", 30, 33),
    ),
    "a step without a label": (
        _set("step_labels", 13, labels=[0.0]),
        _critical("step_labels", IN_SET, "label_per_step", 13),
    ),
    "a step label above 1": (
        _set("step_labels", 14, labels=[0.0, 1.5]),
        # the label that is a text is no number between 0 and 1 either
        _critical("step_labels", IN_SET, "labels_in_unit_interval", 7, 14),
    ),
    "a step of two lines": (
        _set("step_labels", 15, steps=["one\nand a half", "two"]),
        _critical("step_labels", IN_SET, "step_is_one_line", 15),
    ),
    "an answer label below 0": (
        _set("answer_labels", 15, label=-1.0),
        _critical("answer_labels", BETWEEN, "label", 15),
    ),
    "an answer with both labels": (
        _set("answer_labels", 16, prompt="prompt t19", label=0.5),
        _critical("answer_labels", IN_SET, "label_contradicted", 16, 19),
    ),
    "an evaluation prompt in training": (
        _set("warm_start", 16, prompt="Prompt, E16!"),
        _critical("warm_start", IN_SET, "prompt_in_evaluation", 16),
    ),
    "a validation prompt that another table trains on": (
        _set("answer_labels", 20, prompt="prompt t2"),
        _critical("answer_labels", IN_SET, "prompt_in_validation_too", 20),
    ),
    "a token that ends the reasoning": (
        _set("rl_prompts", 18, prompt=f"{SECRET} </think> sure"),
        _critical("rl_prompts", IN_SET, "prompt_has_control_token", 18),
    ),
    "a chat token": (
        _set("evaluation", 19, prompt="x <|im_start|>assistant y"),
        _critical("evaluation", IN_SET, "prompt_has_control_token", 19),
    ),
    "a chat token of another family": (
        _set("warm_start", 20, prompt="[INST] x [/INST]"),
        _critical("warm_start", IN_SET, "prompt_has_control_token", 20),
    ),
    "a token in wide letters with a hidden character": (
        _set("preferences", 20, prompt="x \uff1cthi\u200dnk\uff1e y"),
        _critical("preferences", IN_SET, "prompt_has_control_token", 20),
    ),
    "a chat token in an answer": (
        _set("preferences", 21, chosen="a<|im_end|>"),
        _critical("preferences", IN_SET, "answer_has_control_token", 21),
    ),
    "a reasoning token in a step": (
        _set("step_labels", 21, steps=["one", "</think> two"]),
        _critical("step_labels", IN_SET, "answer_has_control_token", 21),
    ),
    "reasoning that ends itself": (
        _set("warm_start", 22, reasoning="r </THINK> r"),
        _critical("warm_start", IN_SET, "answer_has_control_token", 22),
    ),
    "an unknown kind of trace": (
        _set("warm_start", 23, kind="guess"),
        _critical("warm_start", IN_SET, "kind", 23),
    ),
    "a hidden character": (
        _set("rl_prompts", 24, prompt="x \u202e y"),
        _warning("rl_prompts", IN_SET, "prompt_has_hidden_character", 24),
    ),
    "a wrong encoding": (
        _set("rl_prompts", 25, prompt="caf\u00c3\u00a9"),
        _warning("rl_prompts", IN_SET, "prompt_is_garbled", 25),
    ),
    "a character that was lost": (
        _set("evaluation", 25, prompt="caf\ufffd"),
        _warning("evaluation", IN_SET, "prompt_is_garbled", 25),
    ),
    "one prompt with two categories": (
        _two_categories,
        _warning("preferences", IN_SET, "category_contradicted", 27),
    ),
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[ValidationResult, Path]:
    """All the faults at once, each in rows of its own."""
    docs = tmp_path_factory.mktemp("planted") / "docs"
    tables = _good()
    for plant, _ in FAULTS.values():
        plant(tables)
    return _validate(tables, docs=docs), docs


def test_good_tables_pass_without_a_warning_also_against_themselves() -> None:
    tables = _good()
    before = profile({n: (TABLES[n].names, rows) for n, rows in tables.items()})
    result = _validate(tables, Limits(min_rows={"rl_prompts": ROWS}, near_evaluation=False), before=before)
    assert result.success and result.failures == []
    assert set(result.checked) == set(TABLES) and min(result.checked.values()) >= 22


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
    also = {
        ("warm_start", BETWEEN, "prompt_chars"),  # a null prompt has no length either
        ("evaluation", UNIQUE, "content"),  # a prompt is all that an evaluation row says
        ("answer_labels", UNIQUE, "content"),  # an answer with both labels stands twice
        ("rl_prompts", IN_SET, "category_contradicted"),  # the other one of the two
    }
    assert {(f.table, f.expectation, f.column) for f in planted[0].failures} == expected | also


def test_a_fault_of_the_schema_says_which_column(planted: tuple[ValidationResult, Path]) -> None:
    details = {f.table: f.detail for f in planted[0].failures if f.column == "schema_faults"}
    assert details == {
        "warm_start": "prompt is null", "rl_prompts": "slice is int",
        "step_labels": "labels is list", "answer_labels": "label is float",
    }  # fmt: skip


def test_a_failure_is_told_in_one_line_with_what_was_expected(planted: tuple[ValidationResult, Path]) -> None:
    told = next(str(f) for f in planted[0].failures if f.column == "prompt_in_evaluation")
    assert told == (
        "warm_start: not so: no evaluation prompt is trained on "
        "[expect_column_values_to_be_in_set(prompt_in_evaluation)]: 1 row, such as warm_start:16"
    )


def test_the_data_docs_show_sentences_and_ids_and_no_text(planted: tuple[ValidationResult, Path]) -> None:
    docs = planted[1]
    pages = [path.read_text(encoding="utf-8") for path in docs.rglob("*.html")]
    assert (docs / "index.html").is_file() and len(pages) == 1 + 2 * len(TABLES)
    assert any("rl_prompts:18" in page for page in pages)
    assert any("no evaluation prompt is trained on" in page for page in pages)
    assert not any(SECRET in page or "prompt t" in page or "prompt e" in page for page in pages)


def test_an_id_that_is_markup_is_told_as_it_is_and_does_not_become_a_part_of_the_page(tmp_path: Path) -> None:
    tables = _good()
    tables["rl_prompts"][7].update(id="<script>alert(1)</script>", category="<b>rude")
    result = _validate(tables, only=("rl_prompts",), docs=tmp_path / "docs")
    failure = next(f for f in result.failures if f.column == "category")
    assert failure.example_ids == ["<script>alert(1)</script>"]
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "docs").rglob("*.html")]
    assert any("&lt;script&gt;alert(1)" in page for page in pages)
    assert not any("<script>alert(1)" in page or "<b>rude" in page for page in pages)


def test_a_row_without_an_id_is_named_by_its_number() -> None:
    tables = _good()
    tables["preferences"][4].update(id=None)
    (failure,) = _validate(tables, only=("preferences",)).failures
    assert (failure.column, failure.example_ids) == ("schema_faults", ["row 5"])


def test_too_few_rows_and_shares_out_of_bounds_are_caught() -> None:
    tables = _good()
    for row in tables["rl_prompts"] + tables["evaluation"]:
        row["category"] = "harmless" if row["category"] == "ambiguous" else row["category"]
        row["prompt"] += " again"
    tables["step_labels"] = []
    limits = Limits(
        min_rows={"step_labels": 1, "preferences": ROWS + 1},
        near_evaluation=False,
        category_shares={"preferences": {"harmful": (0.4, 0.6)}, "rl_prompts": {"harmless": (0.0, 0.5)}},
    )
    result = _validate(tables, limits, only=("rl_prompts", "step_labels", "preferences", "evaluation"))
    assert [(f.table, f.expectation, f.column, f.severity) for f in result.failures] == [
        ("preferences", MEAN, "is_harmful", "critical"),  # a third
        ("preferences", COUNT, "", "critical"),
        ("rl_prompts", MEAN, "is_ambiguous", "critical"),
        ("rl_prompts", MEAN, "is_harmless", "critical"),  # two thirds
        ("step_labels", COUNT, "", "critical"),
        ("evaluation", MEAN, "is_ambiguous", "warning"),
    ]
    assert result.failures[0].detail == "observed 0.333, bounds [0.4, 0.6]" and not result.success
    assert "observed 60" in result.failures[1].detail


def test_a_warning_alone_does_not_fail() -> None:
    tables = _good()
    for row in tables["evaluation"]:
        row["category"] = "harmful"
    result = _validate(tables, only=("evaluation",))
    assert result.success
    assert {(f.severity, f.column) for f in result.failures} == {
        ("warning", "is_harmless"),
        ("warning", "is_ambiguous"),
    }


def test_drift_against_the_version_before_is_warned_of() -> None:
    before = profile({"rl_prompts": (TABLES["rl_prompts"].names, _good()["rl_prompts"])})
    tables = _good()
    for number, row in enumerate(tables["rl_prompts"]):
        # 18 characters and more against 9 or 10; 40 of 60 harmful against 20; a source gone; four words of
        # five unknown; and eleven rows where the bound is 60 / 3 = 20
        row.update(prompt=f"prompt on something wholly other{number}", source="another")
        row["category"] = "harmful" if number % 3 < 2 else "ambiguous"
    result = _validate(
        {**tables, "rl_prompts": tables["rl_prompts"][:11]}, Limits(min_category_share=0.0, near_evaluation=False),
        only=("rl_prompts",), before=before,
    )  # fmt: skip
    assert result.success and {f.severity for f in result.failures} == {"warning"}
    assert {(f.expectation, f.column) for f in result.failures} == {
        (COUNT, ""), (DISTINCT, "source"), (MEAN, "prompt_chars"), (MEDIAN, "prompt_chars"),
        (MEAN, "is_harmful"), (MEAN, "is_harmless"), (MEAN, "known_word_share"),
    }  # fmt: skip
    words = next(f for f in result.failures if f.column == "known_word_share")
    assert words.detail == "observed 0.2, bounds [0.8, None]"


def test_a_near_duplicate_of_an_evaluation_prompt_is_warned_of() -> None:
    tables = _good()
    tables["evaluation"][5]["prompt"] = "how do I prune an old apple tree in winter?"
    tables["warm_start"][40]["prompt"] = "Please, how do I prun an old apple tree in winter"
    tables["warm_start"][41]["prompt"] = "how do I water an old apple tree in summer?"
    failures = _validate(tables, only=("warm_start",), limits=replace(LIMITS, near_evaluation=True)).failures
    found = next(f for f in failures if f.column == "prompt_nearly_in_evaluation")
    assert (found.severity, found.example_ids[-1:]) == ("warning", ["warm_start:40"])
    assert "warm_start:41" not in found.example_ids


def test_a_profile_holds_no_word() -> None:
    text = profile({"rl_prompts": (TABLES["rl_prompts"].names, _good()["rl_prompts"])}).model_dump_json()
    assert "prompt t" not in text and len(json.loads(text)["tables"]["rl_prompts"]["words"]) == ROWS + 1


def test_a_missing_and_a_foreign_column_are_caught(tmp_path: Path) -> None:
    for name, rows in _good().items():
        write_table(rows, name, tmp_path)
    path = tmp_path / "preferences.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["rejected"]).append_column("x", pa.array([1] * ROWS)), path)
    result = validate_rows(read_tables(tmp_path), LIMITS, only=("preferences",))
    assert not result.success
    schema = next(f for f in result.failures if f.expectation == COLUMNS)
    assert "rejected" in schema.detail and "x" in schema.detail


def test_a_missing_and_a_broken_table_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rl_prompts\.parquet: no such prepared table"):
        read_tables(tmp_path)
    (tmp_path / "rl_prompts.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"rl_prompts\.parquet: not a whole Parquet file"):
        read_tables(tmp_path)
