"""Which model a name on the command line means: a directory, a registered version, or a hub name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sear_core.errors import InputError
from sear_core.model_directory import check_model_directory

if TYPE_CHECKING:
    from tasks.model_registry import Registered
    from tasks.workspace import Workspace

REGISTERED = re.compile(r"models:/(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>\d+))")


@dataclass(frozen=True)
class Found:
    """`path`: a directory with safetensors, or a hub name; `label`: for people, run names and folders."""

    path: str
    label: str


def is_hub_name(name: str) -> bool:
    """Is it neither a directory, nor a path, nor a registered version?"""
    return not (
        name.startswith(("models:/", "/", ".", "~")) or name.isdigit() or Path(name).expanduser().exists()
    )


def find_model(name: str, workspace: Workspace, experiment: str = "sear") -> Found:
    """`models:/NAME@ALIAS`, `models:/NAME/VERSION`, a version number of `experiment`'s, a directory, a hub name.

    A directory is a model's own, or an MLflow pyfunc with one inside. Raises InputError for what is not there.
    """
    if name.startswith("models:/") or name.isdigit():
        version = registered(f"models:/{experiment}/{name}" if name.isdigit() else name, workspace)
        label = f"{version.name} version {version.version}"
        return Found(str(directory_of(version.source, label)), label)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        check_model_directory(name)  # of a path it says what is wrong
        return Found(name, name)
    from tasks.serving import model_directory

    if (folder / "MLmodel").is_file():
        folder = model_directory(folder)
    check_model_directory(str(folder))
    parts = folder.resolve().parts
    return Found(str(folder.resolve()), "/".join(parts[-2:]) if parts[-1] == "model" else parts[-1])


def registered(uri: str, workspace: Workspace) -> Registered:
    """The version that a `models:/` URI means. Raises InputError where there is none."""
    from tasks.model_registry import by_alias, by_version, store_exists
    from tasks.secrets import public
    from tasks.tracking import configure

    match = REGISTERED.fullmatch(uri)
    if match is None:
        raise InputError(f"{uri}: expected models:/NAME@ALIAS or models:/NAME/VERSION")
    store = workspace.tracking_uri
    if store_exists(store):
        configure(workspace)
    name, alias, version = match["name"], match["alias"], match["version"]
    found = by_alias(store, name, alias) if alias else by_version(store, name, version)
    if found is None:
        raise InputError(
            f"{uri}: no such registered model in {public(store)}; `sear run` trains and registers one"
        )
    return found


def directory_of(source: str, label: str) -> Path:
    """The safetensors directory of a registered version; of a remote store it is downloaded."""
    from tasks.serving import fetch, model_directory

    return model_directory(fetch(source, label))
