"""What is expected of each prepared table: a Great Expectations suite per table, every expectation a built-in one.

*critical* closes the gate, *warning* is told. Each expectation carries one plain sentence, which the Data Docs
show. The columns that are not the schema's are derived in textless.py.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sear_core.schema import CATEGORIES, TABLES
from tasks.drift import Profile, TableProfile
from tasks.textless import ANSWERS

if TYPE_CHECKING:
    import pandas as pd

CRITICAL: dict[str, Any] = {"severity": "critical"}
WARNING: dict[str, Any] = {"severity": "warning"}

# derived column -> (severity, what it means that every row has the good value); the good value is False
NEVER = {
    "prompt_has_control_token": (CRITICAL, "no prompt holds a chat or reasoning token: it could forge a turn"),
    "prompt_in_evaluation": (CRITICAL, "no evaluation prompt is trained on"),
    # a warning: preparation, which takes them out, weighs words by all that it reads, this by what is left
    "prompt_nearly_in_evaluation": (WARNING, "no near-duplicate of an evaluation prompt is trained on"),
    "prompt_in_validation_too": (CRITICAL, "no prompt is trained on that some table holds out for validation"),
    "answer_has_control_token": (CRITICAL, "no answer, reasoning or step holds a chat or reasoning token"),
    "chosen_equals_rejected": (CRITICAL, "the chosen answer is another than the rejected one"),
    "pair_stands_reversed_too": (CRITICAL, "no pair of answers stands in both orders under one prompt"),
    "label_contradicted": (CRITICAL, "one answer to one prompt has one label"),
    "category_contradicted": (WARNING, "one prompt has one category, in all tables"),
    "prompt_has_hidden_character": (WARNING, "no prompt holds control, zero-width or direction characters"),
    "prompt_is_garbled": (WARNING, "no prompt shows signs of a wrong character encoding"),
}  # fmt: skip
ALWAYS = {
    "label_per_step": (CRITICAL, "a row has at least one step, and a label for each"),
    "labels_in_unit_interval": (CRITICAL, "step labels are numbers from 0 to 1"),
    "step_is_one_line": (CRITICAL, "a step is one line of text, not an empty one"),
}


@dataclass(frozen=True)
class Limits:
    """The bounds of the checks: the config section `[validation]`, without the reference."""

    min_rows: Mapping[str, int] = field(default_factory=dict)  # table -> least number of rows
    min_category_share: float = 0.05
    category_shares: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    max_prompt_chars: int = 4000
    max_answer_chars: int = 20_000
    near_evaluation: bool = True  # look for near-duplicates of evaluation prompts too
    max_share_drift: float = 0.1  # of a category's share of a table, against the version before
    max_length_drift: float = 1.5  # factor on median and mean of prompt lengths; twice it on the rows
    min_known_words: float = 0.8  # share of a prompt's words that the version before knew, on average


def suite_of(name: str, frame: pd.DataFrame, limits: Limits, before: Profile | None = None) -> list[Any]:
    """The expectations of one table; an empty table is only counted."""
    import great_expectations.expectations as gxe

    least = limits.min_rows.get(name, 1 if name in ("rl_prompts", "evaluation") else 0)
    derived = set(frame.columns) - set(frame.attrs["columns"])
    suite: list[Any] = [
        gxe.ExpectTableColumnsToMatchSet(
            column_set=sorted(derived.union(TABLES[name].names)), exact_match=True, **CRITICAL,
            description="the columns are those of the schema, beside the derived ones",
        ),
        gxe.ExpectTableRowCountToBeBetween(
            min_value=least, **CRITICAL, description=f"the table has at least {least} rows"
        ),
    ]  # fmt: skip
    if frame.empty:
        return suite
    suite += _of_every_row(name, limits)
    suite += [
        gxe.ExpectColumnValuesToBeInSet(column=column, value_set=[good], **severity, description=words)
        for group, good in ((NEVER, False), (ALWAYS, True))
        for column, (severity, words) in group.items()
        if column in derived
    ]
    suite += _of_answers(name, limits)
    suite += _of_shares(name, limits)
    if before is not None and name in before.tables:
        suite += _of_drift(before.tables[name], limits, derived)
    return suite


def _of_every_row(name: str, limits: Limits) -> list[Any]:
    import great_expectations.expectations as gxe

    splits = ["test"] if name == "evaluation" else ["train", "validation"]
    suite: list[Any] = [
        gxe.ExpectColumnValuesToBeInSet(
            column="schema_faults", value_set=[""], **CRITICAL,
            description="no value is null, and each is of its column's type",
        ),
        gxe.ExpectColumnValuesToBeUnique(column="id", **CRITICAL, description="an id names one row"),
        gxe.ExpectColumnValuesToBeInSet(
            column="category", value_set=list(CATEGORIES), **CRITICAL,
            description=f"the category is one of {', '.join(CATEGORIES)}",
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="split", value_set=splits, **CRITICAL, description=f"the split is {' or '.join(splits)}"
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="prompt_chars", min_value=1, max_value=limits.max_prompt_chars, **CRITICAL,
            description=f"a prompt has 1 to {limits.max_prompt_chars} characters",
        ),
        gxe.ExpectColumnValuesToBeUnique(
            column="content", **CRITICAL, description="no two rows say the same, but for case"
        ),
    ]  # fmt: skip
    if name in ("rl_prompts", "evaluation"):
        suite.append(
            gxe.ExpectColumnValuesToBeUnique(
                column="prompt", **CRITICAL, description="a prompt stands once in the table"
            )
        )
    if name != "evaluation":
        suite.append(
            gxe.ExpectColumnDistinctValuesToContainSet(
                column="split", value_set=splits, **WARNING, description="both splits have rows"
            )
        )
    if name == "warm_start":
        suite.append(
            gxe.ExpectColumnValuesToBeInSet(
                column="kind", value_set=["", "trace", "fact"], **CRITICAL,
                description="the kind is trace, fact or empty",
            )
        )  # fmt: skip
    return suite


def _of_answers(name: str, limits: Limits) -> list[Any]:
    import great_expectations.expectations as gxe

    suite: list[Any] = []
    if set(ANSWERS) & set(TABLES[name].names):
        suite += [
            gxe.ExpectColumnValuesToBeBetween(
                column="shortest_answer_chars", min_value=1, **CRITICAL, description="no answer is empty"
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="longest_answer_chars", max_value=limits.max_answer_chars, **CRITICAL,
                description=f"an answer has at most {limits.max_answer_chars} characters",
            ),
        ]  # fmt: skip
    if name == "answer_labels":
        suite += [
            gxe.ExpectColumnValuesToBeBetween(
                column="label", min_value=0, max_value=1, **CRITICAL, description="labels lie in 0 to 1"
            ),
            gxe.ExpectColumnMeanToBeBetween(
                column="label", min_value=0.05, max_value=0.95, **WARNING,
                description="neither label is rarer than one in twenty",
            ),
        ]  # fmt: skip
    return suite


def _of_shares(name: str, limits: Limits) -> list[Any]:
    """Bounds of category shares: those that the config states, else the least share where all three belong."""
    import great_expectations.expectations as gxe

    stated = limits.category_shares.get(name, {})
    suite: list[Any] = []
    for category in CATEGORIES:
        if category in stated:
            low, high = stated[category]
            severity = CRITICAL
        elif name in ("rl_prompts", "warm_start", "evaluation"):
            low, high = limits.min_category_share, 1.0
            severity = CRITICAL if name == "rl_prompts" else WARNING
        else:
            continue
        suite.append(
            gxe.ExpectColumnMeanToBeBetween(
                column=f"is_{category}", min_value=low, max_value=high, **severity,
                description=f"the share of {category} rows lies in {low:g} to {high:g}",
            )
        )  # fmt: skip
    return suite


def _of_drift(before: TableProfile, limits: Limits, derived: set[str]) -> list[Any]:
    """Differences to the version before that a person should know of."""
    import great_expectations.expectations as gxe

    factor, rows = limits.max_length_drift, 2 * limits.max_length_drift
    suite: list[Any] = [
        gxe.ExpectTableRowCountToBeBetween(
            min_value=int(before.rows / rows), max_value=int(before.rows * rows) + 1, **WARNING,
            description=f"drift: the version before had {before.rows} rows",
        ),
        gxe.ExpectColumnDistinctValuesToContainSet(
            column="source", value_set=[*map(html.escape, before.sources)], **WARNING,
            description=f"drift: there are rows of all sources of the version before ({', '.join(before.sources)})",
        ),
        # not the quantiles' expectation: GX 1.24 cannot store its result with NumPy 2
        gxe.ExpectColumnMedianToBeBetween(
            column="prompt_chars", min_value=before.median_chars / factor, max_value=before.median_chars * factor,
            **WARNING, description=f"drift: half of the prompts had {before.median_chars:g} characters or more",
        ),
        gxe.ExpectColumnMeanToBeBetween(
            column="prompt_chars", min_value=before.mean_chars / factor, max_value=before.mean_chars * factor,
            **WARNING, description=f"drift: prompts had {before.mean_chars:.3g} characters on average",
        ),
    ]  # fmt: skip
    suite += [
        gxe.ExpectColumnMeanToBeBetween(
            column=f"is_{category}",
            min_value=share - limits.max_share_drift, max_value=share + limits.max_share_drift, **WARNING,
            description=f"drift: {share:.0%} of the version before were {category}",
        )
        for category, share in before.shares.items()
    ]  # fmt: skip
    if "known_word_share" in derived:
        suite.append(
            gxe.ExpectColumnMeanToBeBetween(
                column="known_word_share", min_value=limits.min_known_words, **WARNING,
                description="drift: prompts speak the vocabulary of the version before",
            )
        )  # fmt: skip
    return suite
