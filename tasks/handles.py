"""What stages hand to each other: small typed JSON, never data or models.

A handle names a directory of the store by path, and its content by hash. `schema_version` is raised when a
field changes its meaning; a handle of another version is not believed.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Handle(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1] = 1
    path: str
    md5: str  # of the directory: DVC's way for sources, tasks/cache.py's for outputs
    run_id: str = ""  # the MLflow run that computed it
    metrics: dict[str, float] = {}


class DataVersion(Handle):
    rows: int


class PreparedData(Handle):
    sha256: str
    tables: dict[str, int]  # rows per table


class Validated(Handle):
    """The gate was passed; path holds the Data Docs."""

    warnings: int = 0


class ModelVersion(Handle):
    name: str


class RewardModels(Handle):
    """path holds `harm/` and `helpfulness/`."""


class EvalReport(Handle):
    arm: str


class StudyReport(Handle):
    """path holds study.json, plots/ and report.html."""


class Comparison(Handle):
    arms: list[str]


class Registration(Handle):
    name: str
    version: str = ""
    passed: bool = False  # the gate
    promoted: bool = False  # now: a person may have to approve first
    reasons: list[str] = []
