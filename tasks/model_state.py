"""The bytes of a local model directory belong into a cache key; its path alone says nothing of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from tasks.cache import md5_file
from tasks.handles import Handle
from tasks.stage import Stage
from tasks.workspace import Workspace


def model_state(stage: Stage, inputs: Mapping[str, Handle], workspace: Workspace) -> dict[str, str]:
    """{"model": hash} of the directory that the stage's section names; {} for a hub name or none."""
    found = directory_hash(stage.section["model"]["path"])
    return {"model": found} if found else {}


def directory_hash(path: str | None) -> str:
    """A hash of the names and bytes of a local directory's files; empty for a hub name or none."""
    folder = Path(path).expanduser() if path else None
    if folder is None or not folder.is_dir():
        return ""
    files = {file.name: md5_file(file) for file in sorted(folder.iterdir()) if file.is_file()}
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()
