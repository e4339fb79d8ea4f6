"""Checking data without a run: what a config prepares, or one table that somebody brings."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sear_core.errors import InputError
from sear_core.schema import TABLES
from tasks.config import DataConfig, SourceConfig, ValidationConfig
from tasks.drift import previous_profile, read_profile
from tasks.expectations import ValidationResult, read_tables, validate_rows
from tasks.handles import DataVersion
from tasks.stage import Job
from tasks.suites import Limits
from tasks.textless import Row
from tasks.workspace import Workspace


def limits_of(config: ValidationConfig) -> Limits:
    return Limits(**config.model_dump(mode="json", exclude={"reference"}))


def docs_folder(workspace: Workspace) -> Path:
    """Where the Data Docs of the last check lie; emptied."""
    folder = workspace.root / ".sear" / "data-check"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


@contextmanager
def scratch_folder(workspace: Workspace) -> Iterator[Path]:
    """A folder on the file system of data/, gone afterwards."""
    (workspace.root / ".sear").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="check-", dir=workspace.root / ".sear") as name:
        yield Path(name)


def prepare_into(out: Path, root: Path, data: DataConfig, seed: int, project: Path) -> dict[str, Any]:
    """What the prepare stage computes of the sources under `root`, written into `out`."""
    from tasks.data import compute_prepare, prepare_stage

    out.mkdir(parents=True)
    stage = prepare_stage(data, seed)
    version = DataVersion(path=str(root), md5="", rows=0)
    return compute_prepare(
        Job(name="prepare", arm="", section=stage.section, inputs={"version": version}, out=out, root=project)
    )


def check_config(
    workspace: Workspace, data: DataConfig, validation: ValidationConfig, seed: int, docs: Path
) -> ValidationResult:
    """Prepare what the config says and validate it, as a run would; nothing is kept but the Data Docs."""
    from tasks.data import ensure

    ensure(data.root, workspace)
    with scratch_folder(workspace) as scratch:
        prepared = prepare_into(
            scratch / "prepared", workspace.resolve(data.root), data, seed, workspace.root
        )
        before = (
            workspace.resolve(validation.reference) if validation.reference
            else previous_profile(workspace.store, scratch / "prepared", prepared["sha256"])
        )  # fmt: skip
        return validate_rows(
            read_tables(scratch / "prepared" / "tables"), limits_of(validation), docs=docs,
            before=read_profile(before) if before else None,
        )  # fmt: skip


def check_table(
    workspace: Workspace,
    file: Path,
    source: SourceConfig,
    data: DataConfig,
    validation: ValidationConfig,
    docs: Path,
) -> ValidationResult:
    """Validate the rows of one file as they are mapped, before any is taken out.

    Training rows are compared with the config's evaluation prompts. Raises InputError naming file and row.
    """
    from sear_core.data.sources import Source, read_source
    from sear_core.data.splits import split_of
    from tasks.data import ensure

    rows, _ = read_source(Source(**source.model_dump()), file.parent)
    for row in rows:
        row["split"] = split_of(row, source.role, data.validation_share)
    tables: dict[str, tuple[list[str], list[Row]]] = {source.role: (TABLES[source.role].names, rows)}
    if source.role != "evaluation":
        suites = [item for item in data.sources if item.role == "evaluation"]
        if suites:
            ensure(data.root, workspace)
        asked = [
            row for item in suites for row in read_source(Source(**item.model_dump()), workspace.resolve(data.root))[0]
        ]  # fmt: skip
        tables["evaluation"] = (TABLES["evaluation"].names, asked)
    # one source need not have all categories, nor as many rows as all of them together
    limits = validation.model_copy(update={"min_rows": {source.role: 1}, "min_category_share": 0.0})
    numbers = {row["id"]: number for number, row in enumerate(rows, start=1)}
    result = validate_rows(tables, limits_of(limits), only=(source.role,), docs=docs)
    named = [
        replace(
            item, example_ids=[f"{i} (row {numbers[i]})" if i in numbers else i for i in item.example_ids]
        )
        for item in result.failures
    ]
    return replace(result, failures=named)


def link_or_copy(source: Path, target: Path) -> None:
    """The same bytes under another name, without a copy where the file system can."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def propose(
    file: Path,
    role: str,
    *,
    name: str,
    licence: str,
    columns: dict[str, str],
    constants: dict[str, Any],
    split: str,
) -> tuple[SourceConfig, dict[str, dict[str, Any]]]:
    """The config entry of a file, its columns guessed where not given; and what its columns hold, in words.

    Raises InputError: no such file, role or schema column, a column that cannot be guessed.
    """
    import difflib

    from sear_core.data.guessing import guess

    if role not in TABLES:
        close = difflib.get_close_matches(role, TABLES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(TABLES)}"
        raise InputError(f"--as {role!r}: no such table; {hint}")
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    for option, given in (("--column", columns), ("--constant", constants)):
        for column in given:
            if column not in TABLES[role].names:
                close = difflib.get_close_matches(column, TABLES[role].names, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(TABLES[role].names)}"
                raise InputError(f"{option} {column}=…: the table {role} has no such column; {hint}")
    if role == "evaluation":
        constants = {"suite": name} | constants
    found = guess(file, role, columns, constants)
    # a split that the file states is one of `columns`; another is the source's
    source = SourceConfig.model_validate({
        "name": name, "path": file.name, "role": role, "licence": licence, "columns": found.columns,
        "constants": found.constants, "values": found.values, **({"split": split} if split else {}),
    })  # fmt: skip
    about = {
        column: {
            "kinds": sorted(seen.kinds), "filled": seen.present, "distinct": "many" if len(seen.values) > 50
            else len(seen.values),
        }
        for column, seen in found.seen.items()
    }  # fmt: skip
    return source, about
