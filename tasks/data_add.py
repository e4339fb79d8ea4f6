"""`sear data add`: a person's own table becomes a source of the project, wholly or not at all.

The table is copied beside hard links of the other sources, prepared with them and validated there; only then
does it go to `<data root>/own/`, into data.dvc, and into a config file. A fault on the way leaves data/,
data.dvc and the config as they were.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from sear_core.errors import InputError
from tasks.config import DataConfig, SourceConfig, ValidationConfig
from tasks.data_check import limits_of, link_or_copy, prepare_into, scratch_folder
from tasks.dvc_adapter import add as record
from tasks.dvc_adapter import lock
from tasks.expectations import ValidationResult, read_tables, validate_rows
from tasks.workspace import Workspace

FOLDER = "own"


def add_table(
    workspace: Workspace,
    file: Path,
    source: SourceConfig,
    data: DataConfig,
    validation: ValidationConfig,
    seed: int,
    config: Path,
    going_on: Path | None,
    preset: str,
    docs: Path,
) -> tuple[ValidationResult, dict[str, Any]]:
    """Take a file in. `source.path` is its place under the data root. `config` is to hold what `going_on`
    holds, or extends `preset`, and the source.

    Returns the validation's result, and {added, md5, rows, kept, removed} where no critical expectation
    failed; `added` is false, and nothing has changed, where one did. Raises InputError: a data root that is not
    in data/, a place that is taken, data/ that differs from data.dvc, an unreadable table.
    """
    from tasks.data import ensure

    root, own = workspace.resolve(data.root), workspace.root / "data"
    if not root.is_relative_to(own):
        raise InputError(
            f"data.root = {data.root!r} lies outside {own}, which data.dvc tracks; expected a folder in it"
        )
    target = root / source.path
    with lock(workspace.root):
        ensure(data.root, workspace)
        if target.exists():
            raise InputError(f"{target}: already there; expected another --name")
        with scratch_folder(workspace) as scratch:
            copy = scratch / "root" / source.path
            _lay_out(scratch / "root", root, data)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            # before RL prompts are mixed: what is not chosen today may be tomorrow, so every row is looked at
            every = {"sources": [*data.sources, source], "rl_prompts": None, "harmful_share": None}
            more, limits = data.model_copy(update=every), validation
            if (
                data.rl_prompts is not None or data.harmful_share is not None
            ):  # it is the mix that has the shares
                limits = validation.model_copy(update={"min_category_share": 0.0, "category_shares": {}})
            prepare_into(scratch / "prepared", scratch / "root", more, seed, workspace.root)
            report = json.loads((scratch / "prepared" / "report.json").read_text(encoding="utf-8"))
            result = validate_rows(read_tables(scratch / "prepared" / "tables"), limits_of(limits), docs=docs)
            about = next(item for item in report["sources"] if item["name"] == source.name)
            outcome = {"added": False, "rows": about["read"], "kept": about["kept"],
                       "removed": _reasons(scratch / "prepared" / "removed.jsonl", source.name)}  # fmt: skip
            if result.success:
                # read now: another addition may have gone on with the same file meanwhile
                text = config_text(going_on.read_text(encoding="utf-8") if going_on else "", preset, source)
                outcome |= {"added": True, "md5": _commit(workspace.root, copy, target, config, text)}
    return result, outcome


def config_text(existing: str, preset: str, source: SourceConfig) -> str:
    """A config file that has the source behind those that it extends; `existing` is kept as it is, and goes on."""
    entry = {
        key: value
        for key, value in source.model_dump(mode="json", exclude_defaults=True).items()
        if value not in ({}, [])
    }
    lines = "".join(f"{key} = {_toml(value)}\n" for key, value in entry.items())
    head = existing.rstrip("\n") + "\n" if existing else f"extends = {_toml(preset)}\n"
    return f"{head}\n[[data.more_sources]]\n{lines}"


def place(name: str, file: Path) -> str:
    """Where a table of that name goes under the data root, with the file's own endings."""
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name, re.ASCII):
        raise InputError(f"--name {name!r}: expected letters, digits, _ and -, and a letter or digit first")
    endings = "".join(file.suffixes[-2:] if file.name.lower().endswith(".gz") else file.suffixes[-1:])
    return f"{FOLDER}/{name}{endings.lower()}"


def _lay_out(scratch: Path, root: Path, data: DataConfig) -> None:
    """The sources that the config reads, under another root."""
    from sear_core.data.sources import source_files

    scratch.mkdir(parents=True)
    for path, source in source_files(root, [item.path for item in data.sources if item.path]).items():
        link_or_copy(source, scratch / path)


def _reasons(removed: Path, source: str) -> dict[str, Any]:
    """Why rows of a source were taken out: {reason: {rows, such as: ids}}."""
    found: dict[str, Any] = {}
    for line in removed.read_text(encoding="utf-8").splitlines():
        removal = json.loads(line)
        if removal["source"] == source:
            entry = found.setdefault(removal["reason"], {"rows": 0, "examples": []})
            entry["rows"] += 1
            if len(entry["examples"]) < 5:
                entry["examples"].append(removal["id"])
    return found


def _commit(project: Path, copy: Path, target: Path, config: Path, text: str) -> str:
    """Move the table into place, record it, write the config; undo all of it where one step fails."""
    pointer = project / "data.dvc"
    before, made = pointer.read_bytes(), not target.parent.exists()
    temporary = config.with_name(f".{config.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        target.parent.mkdir(parents=True, exist_ok=True)
        copy.replace(target)
        md5 = record(project).md5
        temporary.replace(config)
    except BaseException:
        temporary.unlink(missing_ok=True)
        target.unlink(missing_ok=True)
        if made and target.parent.is_dir():
            target.parent.rmdir()
        if pointer.read_bytes() != before:
            pointer.write_bytes(before)
        raise
    return md5


def _toml(value: Any) -> str:
    """A TOML value; JSON's strings, numbers and lists are TOML's."""
    if isinstance(value, dict):
        return (
            "{ "
            + ", ".join(f"{json.dumps(k, ensure_ascii=False)} = {_toml(v)}" for k, v in value.items())
            + " }"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
