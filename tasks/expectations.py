"""The Great Expectations suites: one per prepared table, and their Data Docs.

The frames that are validated hold no text (textless.py), so neither a message nor the Data Docs can show a
prompt; rows are named by id. What is to be checked of a text is a derived column there, and every expectation
is a built-in one.
"""

from __future__ import annotations

import difflib
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sear_core.errors import InputError
from sear_core.schema import CATEGORIES, TABLES
from tasks.textless import ANSWERS, Row, textless_frames

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 5
CRITICAL: dict[str, Any] = {"severity": "critical"}
WARNING: dict[str, Any] = {"severity": "warning"}


@dataclass(frozen=True)
class Failure:
    """One expectation that failed, by how many rows, and which ones for example."""

    table: str
    expectation: str
    column: str
    severity: Literal["critical", "warning"]
    count: int
    example_ids: list[str]
    detail: str = ""  # what was observed, for expectations of a table or an average


@dataclass(frozen=True)
class ValidationResult:
    """`success`: no critical expectation failed; warnings may stand among the failures."""

    success: bool
    failures: list[Failure]
    checked: dict[str, int] = field(default_factory=dict)  # table -> expectations


def validate_tables(
    folder: Path,
    *,
    min_rows: Mapping[str, int],
    min_category_share: float,
    max_prompt_chars: int,
    docs: Path | None = None,
) -> ValidationResult:
    """Validate `<folder>/<table>.parquet` of every table of the schema; Data Docs (HTML) go to `docs`.

    Raises InputError: a table is missing or unreadable, `min_rows` names no table.
    """
    import great_expectations as gx

    _check_tables_named(min_rows)
    tables = {name: _read(Path(folder) / f"{name}.parquet") for name in TABLES}
    frames = textless_frames(tables)
    failures: list[Failure] = []
    checked: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="gx-") as scratch:
        context = _context(scratch, docs)
        source = context.data_sources.add_pandas("prepared")
        for name, frame in frames.items():
            expectations = _expectations(name, frame, min_rows, min_category_share, max_prompt_chars)
            suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
            batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
            definition = context.validation_definitions.add(
                gx.ValidationDefinition(name=name, data=batch, suite=suite)
            )
            checkpoint = context.checkpoints.add(
                gx.Checkpoint(
                    name=name,
                    validation_definitions=[definition],
                    result_format={
                        "result_format": "COMPLETE",
                        "unexpected_index_column_names": ["id"],
                        "partial_unexpected_count": EXAMPLES,
                    },
                )
            )
            for result in checkpoint.run(batch_parameters={"dataframe": frame}).run_results.values():
                checked[name] = len(result.results)
                failures += [_failure(name, item, len(frame)) for item in result.results if not item.success]
        if docs is not None:
            context.build_data_docs(site_names=["docs"])
    order = {"critical": 0, "warning": 1}
    failures.sort(key=lambda f: (order[f.severity], f.table, f.expectation, f.column))
    return ValidationResult(not any(f.severity == "critical" for f in failures), failures, checked)


def _expectations(
    name: str, frame: pd.DataFrame, min_rows: Mapping[str, int], min_share: float, max_prompt_chars: int
) -> list[Any]:
    """The suite of one table; an empty table is only counted."""
    import great_expectations.expectations as gxe

    least = min_rows.get(name, 1 if name in ("rl_prompts", "evaluation") else 0)
    derived = set(frame.columns) - set(frame.attrs["columns"])
    suite: list[Any] = [
        gxe.ExpectTableColumnsToMatchSet(
            column_set=sorted(derived.union(TABLES[name].names)), exact_match=True, **CRITICAL
        ),
        gxe.ExpectTableRowCountToBeBetween(min_value=least, **CRITICAL),
    ]
    if frame.empty:
        return suite
    splits = ["test"] if name == "evaluation" else ["train", "validation"]
    suite += [gxe.ExpectColumnValuesToNotBeNull(column=column, **CRITICAL) for column in TABLES[name].names]
    suite += [
        gxe.ExpectColumnValuesToBeUnique(column="id", **CRITICAL),
        gxe.ExpectColumnValuesToBeInSet(column="category", value_set=list(CATEGORIES), **CRITICAL),
        gxe.ExpectColumnValuesToBeInSet(column="split", value_set=splits, **CRITICAL),
        gxe.ExpectColumnValuesToBeBetween(
            column="prompt_chars", min_value=1, max_value=max_prompt_chars, **CRITICAL
        ),
        _never("prompt_has_control_token"),
    ]
    if name in ("rl_prompts", "evaluation"):
        suite.append(gxe.ExpectColumnValuesToBeUnique(column="prompt", **CRITICAL))
    if name in ("rl_prompts", "warm_start", "evaluation"):
        severity = CRITICAL if name == "rl_prompts" else WARNING
        suite += [
            gxe.ExpectColumnMeanToBeBetween(column=f"is_{category}", min_value=min_share, **severity)
            for category in CATEGORIES
        ]
    if name != "evaluation":
        suite += [_never("prompt_in_evaluation"), _never("prompt_in_validation_too")]
        distinct = gxe.ExpectColumnDistinctValuesToContainSet(column="split", value_set=splits, **WARNING)
        suite.append(distinct)
    if set(ANSWERS) & set(TABLES[name].names):
        suite.append(
            gxe.ExpectColumnValuesToBeBetween(column="shortest_answer_chars", min_value=1, **CRITICAL)
        )
    if name == "preferences":
        suite.append(_never("chosen_equals_rejected"))
    if name == "answer_labels":
        suite.append(gxe.ExpectColumnValuesToBeBetween(column="label", min_value=0, max_value=1, **CRITICAL))
        spread = gxe.ExpectColumnMeanToBeBetween(column="label", min_value=0.05, max_value=0.95, **WARNING)
        suite.append(spread)
    if name == "step_labels":
        suite += [_always("label_per_step"), _always("labels_in_unit_interval")]
    return suite


def _never(column: str) -> Any:
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=[False], **CRITICAL)


def _always(column: str) -> Any:
    import great_expectations.expectations as gxe

    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=[True], **CRITICAL)


def _failure(table: str, item: Any, rows: int) -> Failure:
    config, result = item.expectation_config, item.result or {}
    column = str(config.kwargs.get("column", ""))
    ids = [str(example["id"]) for example in result.get("partial_unexpected_index_list") or []]
    detail = ""
    if not result:
        detail = "; ".join(sorted(_messages(item.exception_info)))
    elif "observed_value" in result:
        bounds = [config.kwargs.get(key) for key in ("min_value", "max_value")]
        detail = f"observed {_short(result['observed_value'])}" + (
            f", bounds {bounds}" if any(bounds) else ""
        )
        if details := result.get("details"):
            detail = f"{_short(details.get('mismatched', details))}"
    return Failure(
        table=table,
        expectation=config.type,
        column=column,
        severity="warning" if str(config.severity).lower().endswith("warning") else "critical",
        count=int(result.get("unexpected_count", rows)),
        example_ids=ids,
        detail=detail,
    )


def _messages(info: Any) -> set[str]:
    """The messages in GX's exception info: a dict, or a dict of such dicts."""
    if not isinstance(info, dict):
        return set()
    own = {str(info["exception_message"])} if info.get("exception_message") else set()
    return own.union(*(_messages(value) for value in info.values()))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)[:300]


def _context(scratch: str, docs: Path | None) -> Any:
    """A file context in a temporary folder, silent, with one Data Docs site."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="file", project_root_dir=scratch)
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    context.enable_analytics(False)
    context.delete_data_docs_site("local_site")
    if docs is not None:
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())}
        site: Any = {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": store,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
        context.add_data_docs_site(site_name="docs", site_config=site)
    return context


def _read(path: Path) -> tuple[list[str], list[Row]]:
    """A table as it is, whatever its columns: judging them is the suite's business."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(f"{path}: no such prepared table; expected the output of the prepare stage")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a whole Parquet file: {str(error).splitlines()[0]}") from None
    return table.column_names, table.to_pylist()


def _check_tables_named(min_rows: Mapping[str, int]) -> None:
    for name in min_rows:
        if name not in TABLES:
            close = difflib.get_close_matches(name, TABLES, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(TABLES)}"
            raise InputError(f"validation.min_rows.{name}: no such table; {hint}")
