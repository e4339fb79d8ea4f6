"""Data sets in the format of `datasets`: saved folders, and the Hugging Face hub where a config names it.

Rows are read from Arrow files on disk, not from memory. Neither way runs code of the data set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sear_core.errors import InputError

_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_DICT, _STATE = "dataset_dict.json", "state.json"


def saved(folder: Path) -> bool:
    """Whether `datasets` has written the folder (`save_to_disk`): one split, or a folder of splits."""
    return (folder / _DICT).is_file() or (folder / _STATE).is_file()


def saved_records(folder: Path, part: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The numbered rows (from 1) of a saved folder; `part` names the split where it has several.

    Raises InputError: no such split, not a whole data set, no row.
    """
    from datasets import load_from_disk

    whole = folder
    if (folder / _DICT).is_file():
        folder = folder / part
        if not (folder / _STATE).is_file():
            there = ", ".join(sorted(item.name for item in whole.iterdir() if item.is_dir()))
            raise InputError(f"{whole}: no split {part!r} in this data set, expected one of {there}")
    try:
        dataset = load_from_disk(str(folder))
    except Exception as error:  # Arrow's, JSON's, the operating system's: whatever is broken in there
        raise InputError(f"{folder}: not a whole saved data set: {_reason(error)}") from error
    yield from _numbered(dataset, str(folder))


def saved_rows(folder: Path) -> int:
    """How many rows a saved folder has, all its splits together."""
    from datasets import load_from_disk

    try:
        dataset = load_from_disk(str(folder))
    except Exception as error:
        raise InputError(f"{folder}: not a whole saved data set: {_reason(error)}") from error
    parts = dataset.values() if isinstance(dataset, dict) else [dataset]
    return sum(len(part) for part in parts)


def hub_records(
    name: str, subset: str | None, part: str, revision: str | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The numbered rows (from 1) of a data set on the hub, or of its copy in the hub's own cache.

    Raises InputError: not a hub name, no network and no copy, no access, no such subset, split or revision.
    """
    if not _NAME.fullmatch(name) or Path(name).exists():
        raise InputError(f"hub {name!r}: expected the name of a data set on the hub, such as 'owner/name'")
    import datasets

    try:
        dataset = datasets.load_dataset(name, subset, split=part, revision=revision)
    except Exception as error:  # the hub's, the network's, and the data set's own
        raise InputError(
            f"hub {name!r} (subset {subset!r}, split {part!r}): cannot be had: {_reason(error)}. Expected a "
            f"network that reaches the hub and access to this data set, or a copy of it in the hub's cache; "
            f"or download it and give its `path`"
        ) from error
    yield from _numbered(dataset, f"hub {name!r}")


def _numbered(dataset: Any, place: str) -> Iterator[tuple[int, dict[str, Any]]]:
    if len(dataset) == 0:
        raise InputError(f"{place}: empty, expected at least one row")
    yield from enumerate(dataset, start=1)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'no message'}"
