"""Running the suites of the prepared tables, the failures in words, and the Data Docs.

The frames that are validated hold no text (textless.py), so neither a message nor the Data Docs can show a
prompt; rows are named by id. What is expected is in suites.py.
"""

from __future__ import annotations

import html
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sear_core.errors import InputError
from sear_core.schema import TABLES
from tasks.drift import Profile
from tasks.suites import Limits, suite_of
from tasks.textless import Row, Tables, textless_frames

EXAMPLES = 5


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
    meaning: str = ""  # what was expected, in a sentence

    @property
    def drift(self) -> bool:
        """Whether it compares with the version before."""
        return self.meaning.startswith("drift:")

    def __str__(self) -> str:
        """One line for people: table, what was expected, how many rows are otherwise, which ones."""
        rows = f"{self.count} row{'' if self.count == 1 else 's'}" if self.example_ids else ""
        named = f"such as {', '.join(self.example_ids)}" if self.example_ids else ""
        told = ", ".join(part for part in (rows, named, self.detail) if part)
        return f"{self.table}: not so: {self.meaning} [{self.expectation}({self.column or '-'})]: {told}"


@dataclass(frozen=True)
class ValidationResult:
    """`success`: no critical expectation failed; warnings may stand among the failures."""

    success: bool
    failures: list[Failure]
    checked: dict[str, int] = field(default_factory=dict)  # table -> expectations

    @property
    def critical(self) -> list[Failure]:
        return [failure for failure in self.failures if failure.severity == "critical"]

    @property
    def warnings(self) -> list[Failure]:
        return [failure for failure in self.failures if failure.severity == "warning"]


def read_tables(folder: Path) -> dict[str, tuple[list[str], list[Row]]]:
    """`<folder>/<table>.parquet` of every table, whatever the columns: judging them is the suites' business.

    Raises InputError where a table is missing or unreadable.
    """
    return {name: _read(Path(folder) / f"{name}.parquet") for name in TABLES}


def validate_rows(
    tables: Tables,
    limits: Limits,
    *,
    only: tuple[str, ...] = tuple(TABLES),
    docs: Path | None = None,
    before: Profile | None = None,
) -> ValidationResult:
    """Validate tables given as (column names, rows); Data Docs (HTML) go to `docs`.

    Tables that `only` leaves out serve for comparison. `before`: the profile of an earlier version (drift.py).
    """
    frames = textless_frames(tables, before.vocabularies() if before else None, limits.near_evaluation)
    failures: list[Failure] = []
    checked: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="gx-") as scratch:
        import great_expectations as gx

        context = _context(scratch, docs)
        source = context.data_sources.add_pandas("prepared")
        for name, frame in frames.items():
            if name not in only:
                continue
            suite = context.suites.add(
                gx.ExpectationSuite(name=name, expectations=suite_of(name, frame, limits, before))
            )
            batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
            definition = context.validation_definitions.add(
                gx.ValidationDefinition(name=name, data=batch, suite=suite)
            )
            index = [column for column in ("id", "row") if column in frame.columns]
            done = definition.run(
                batch_parameters={"dataframe": frame},
                result_format={
                    "result_format": "COMPLETE",
                    "unexpected_index_column_names": index,
                    "partial_unexpected_count": EXAMPLES,
                },
            )
            checked[name] = len(done.results)
            failures += [_failure(name, item, len(frame)) for item in done.results if not item.success]
        if docs is not None:
            context.build_data_docs(site_names=["docs"])
    order = {"critical": 0, "warning": 1}
    failures.sort(key=lambda f: (order[f.severity], f.table, f.expectation, f.column))
    return ValidationResult(not any(f.severity == "critical" for f in failures), failures, checked)


def _failure(table: str, item: Any, rows: int) -> Failure:
    config, result = item.expectation_config, item.result or {}
    column = str(config.kwargs.get("column", ""))
    examples = result.get("partial_unexpected_index_list") or []
    detail = ""
    if not result:
        detail = "; ".join(sorted(_messages(item.exception_info)))
    elif column == "schema_faults":
        detail = "; ".join(dict.fromkeys(map(str, result.get("partial_unexpected_list") or [])))
    elif "observed_value" in result:
        bounds = [config.kwargs.get(key) for key in ("min_value", "max_value")]
        given = any(bound is not None for bound in bounds)
        detail = f"observed {_short(result['observed_value'])}" + (f", bounds {bounds}" if given else "")
        details = result.get("details") or {}
        if mismatched := details.get("mismatched"):
            detail = _short(mismatched)
    return Failure(
        table=table,
        expectation=config.type,
        column=column,
        severity="warning" if str(config.severity).lower().endswith("warning") else "critical",
        count=int(result.get("unexpected_count", rows)),
        example_ids=[_name(example) for example in examples],
        detail=detail,
        meaning=str(config.description or ""),
    )


def _name(example: Mapping[str, Any]) -> str:
    """A row by its id, by its number where it has none."""
    name = example.get("id")
    return html.unescape(name) if isinstance(name, str) and name else f"row {example['row']}"


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
    """A table as it is, whatever its columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(f"{path}: no such prepared table; expected the output of the prepare stage")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a whole Parquet file: {str(error).splitlines()[0]}") from None
    return table.column_names, table.to_pylist()
