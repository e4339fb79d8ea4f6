"""What the commands share: their options, the workspace and config of a call, standard output for JSON alone."""

from __future__ import annotations

import json
import locale
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from flows.config import PipelineConfig
    from tasks.workspace import Workspace

Preset = Annotated[
    str | None,
    Parameter(
        help="A named config: demo, smoke, public, qwen2.5-1.5b, study. Default: demo; of a study, study."
    ),
]
ConfigFile = Annotated[
    Path | None, Parameter(name="--config", help="A TOML config file instead of a preset.")
]
Sets = Annotated[
    list[str] | None,
    Parameter(name="--set", negative="", help="Change one key, such as --set policy.updates=50; repeatable."),
]
Start = Annotated[
    str | None, Parameter(name="--from", help="Compute this stage and all that hangs on it anew.")
]
Until = Annotated[str | None, Parameter(help="Stop after this stage.")]
Fresh = Annotated[bool, Parameter(negative="", help="Use nothing from the store.")]
Json = Annotated[
    bool,
    Parameter(name="--json", negative="", help="One JSON object on standard output, nothing else there."),
]


def find_workspace(offline: bool = True) -> Workspace:
    """`offline`: nothing that the call names lies on the hub. Raises InputError: no project; a shell without UTF-8."""
    from flows.environment import prepare
    from sear_core.errors import InputError
    from tasks.workspace import Workspace

    encoding = locale.getpreferredencoding(False)
    if encoding.lower() not in ("utf-8", "utf8"):
        raise InputError(
            f"this shell's encoding is {encoding}, expected UTF-8: set PYTHONUTF8=1, or such a locale"
        )
    workspace = Workspace.find()
    prepare(workspace, offline)
    return workspace


def tracked_workspace(offline: bool = True) -> Workspace:
    """`find_workspace`, for a command that asks the MLflow store. Raises InputError too where none answers."""
    from flows.services import mlflow_store, require

    workspace = find_workspace(offline)
    require(mlflow_store(workspace.tracking_uri))  # MLflow itself would try for minutes
    return workspace


def load(
    preset: str | None, file: Path | None, sets: list[str] | None, model: str | None = None
) -> tuple[Workspace, PipelineConfig]:
    """The workspace and config of a call; `model`: another one that it names, which may be on the hub."""
    from flows.config import load_config
    from flows.references import check_references, needs_hub

    settings = load_config(preset, file, sets)
    workspace = find_workspace(offline=not needs_hub(settings, model))
    check_references(settings, workspace)
    return workspace, settings


@contextmanager
def standard_output_for(as_json: bool) -> Iterator[Callable[[Any], None]]:
    """With `--json`, whatever libraries print goes to standard error; only `emit` reaches standard output."""
    if not as_json:
        yield lambda value: None
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)

    def emit(value: Any) -> None:
        sys.stdout.flush()
        os.write(kept, (json.dumps(value, indent=1) + "\n").encode())

    try:
        yield emit
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
