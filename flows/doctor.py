"""`sear doctor`: what this machine has, what is wrong, and how to mend it. Changes nothing; a few seconds.

Nothing heavier than torch is imported. Stores and servers have a module of their own, `flows/services.py`.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.services import Check, dvc, mlflow_store, prefect

if TYPE_CHECKING:
    from rich.console import Console

    from tasks.workspace import Workspace

PYTHON = ((3, 11), (3, 15))  # from, below
NEEDED = (
    "torch", "transformers", "trl", "accelerate", "peft", "prefect", "mlflow", "dvc", "great-expectations",
    "pandas", "pyarrow", "pydantic", "cyclopts",
)  # fmt: skip
LOW_RAM, LOW_DISK, NO_DISK = 4.0, 5.0, 1.0  # GB; the demo needs 3 GB of memory and about 1 GB of disk


def check_all(workspace: Workspace) -> list[Check]:
    """Every check; one that breaks is itself a failed check, so that the others are still seen."""
    checks: list[Callable[[], Check | list[Check]]] = [
        python,
        lambda: libraries(workspace.root / "constraints.txt"),
        device,
        lambda: machine(workspace.root),
        lambda: used(workspace),
        lambda: writable(workspace),
        lambda: git(workspace.root),
        lambda: prefect(os.environ.get("PREFECT_API_URL", ""), workspace.prefect_home),
        lambda: mlflow_store(workspace.tracking_uri),
        lambda: dvc(workspace.root),
    ]
    found: list[Check] = []
    for check in checks:
        try:
            result = check()
        except Exception as error:
            name = getattr(check, "__name__", "check")
            result = Check(name, "fail", f"could not be checked: {type(error).__name__}: {error}")
        found.extend(result if isinstance(result, list) else [result])
    return found


def python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    fits = PYTHON[0] <= sys.version_info[:2] < PYTHON[1]
    lowest, above = (".".join(map(str, v)) for v in PYTHON)
    return Check("Python", "ok" if fits else "fail", f"{version} on {platform.system()} {platform.machine()}",
                 "" if fits else f"use Python {lowest} or newer, below {above}")  # fmt: skip


def libraries(constraints: Path) -> Check:
    """What is installed, against the pinned versions: missing fails, another version warns."""
    missing = [name for name in NEEDED if _version(name) is None]
    if missing:
        return Check("libraries", "fail", f"missing: {', '.join(missing)}", "run `make setup`")
    if not constraints.is_file():
        return Check(
            "libraries", "warn", f"all there; no {constraints.name} to compare with", "restore it with git"
        )
    pinned = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", constraints.read_text(), flags=re.MULTILINE))
    # a build's local part (+cpu, +cu128) is not a difference
    other = [
        f"{name} {have} (tested with {want})"
        for name, want in pinned.items()
        if (have := _version(name)) is not None and have.split("+")[0] != want.split("+")[0]
    ]
    if other:
        more = f" and {len(other) - 5} more" if len(other) > 5 else ""
        return Check(
            "libraries", "warn", ", ".join(other[:5]) + more, "run `make setup` for the tested versions"
        )
    return Check("libraries", "ok", f"{len(pinned)} pinned versions match")


def device() -> Check:
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        free, total = (value / 2**30 for value in torch.cuda.mem_get_info(0))
        detail = f"{torch.cuda.device_count()} × {properties.name} (CUDA {torch.version.cuda})"
        return Check(
            "device", "ok", f"{detail}, {free:.0f} of {total:.0f} GB free, torch {torch.__version__}"
        )
    if torch.backends.mps.is_available():
        return Check("device", "ok", f"Apple GPU (MPS), torch {torch.__version__}")
    if Path("/dev/nvidia0").exists():
        detail = f"CPU, though a GPU is there: torch {torch.__version__} has no CUDA, or finds no driver"
        return Check("device", "warn", detail, "install a CUDA build of torch")
    return Check("device", "ok", f"CPU, {torch.get_num_threads()} threads, torch {torch.__version__}")


def machine(root: Path) -> list[Check]:
    """Cores, memory, disk, load: of the machine, or of the container's share of it where it is smaller."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = psutil.virtual_memory()
    free, total = (value / 2**30 for value in (memory.available, memory.total))
    disk = psutil.disk_usage(str(root)).free / 2**30
    load = psutil.getloadavg()[0]
    busy = load > cores
    return [
        Check("memory", "warn" if free < LOW_RAM else "ok", f"{free:.1f} of {total:.1f} GB free",
              "close other programs, or take smaller batches" if free < LOW_RAM else ""),
        Check("disk", "fail" if disk < NO_DISK else "warn" if disk < LOW_DISK else "ok",
              f"{disk:.1f} GB free under {root}",
              "free some space; `.sear/store` holds what can be computed again" if disk < LOW_DISK else ""),
        Check("load", "warn" if busy else "ok", f"{load:.1f} on {cores} cores",
              "other programs are busy: times will be longer" if busy else ""),
    ]  # fmt: skip


def used(workspace: Workspace) -> Check:
    """Disk that this project uses, by folder."""
    from flows.tidy import size

    folders = {".sear": workspace.root / ".sear", "mlruns": workspace.mlruns, ".prefect": workspace.prefect_home,
               "data": workspace.root / "data"}  # fmt: skip
    shown = ", ".join(
        f"{name} {size(path) / 2**20:.0f} MB" for name, path in folders.items() if path.is_dir()
    )
    return Check("disk use", "ok", f"{shown or 'nothing yet'} (`sear clean` lists what may go)")


def writable(workspace: Workspace) -> Check:
    """The folders that a run writes to, or the nearest parent of those that are not there yet."""
    wrong = []
    for folder in (workspace.store, workspace.mlruns, workspace.prefect_home, workspace.root / "data"):
        place = next(path for path in (folder, *folder.parents) if path.exists())
        try:
            with tempfile.NamedTemporaryFile(dir=place):
                pass
        except OSError as error:
            wrong.append(f"{place} ({error.strerror})")
    if wrong:
        return Check(
            "write permission",
            "fail",
            f"none for {', '.join(wrong)}",
            "chown or chmod it, or clone elsewhere",
        )
    return Check("write permission", "ok", str(workspace.root))


def git(root: Path) -> Check:
    from tasks.lineage import git_tags

    tags = git_tags(root)
    if tags["git.commit"] == "none":
        return Check(
            "git", "warn", "no commit here", "runs cannot name the code they used: use a git checkout"
        )
    changed = tags["git.dirty"] == "true"
    commit = tags["git.commit"][:12]
    if changed:
        mend = "commit them, for runs that can be reproduced"
        return Check("git", "warn", f"{commit}, with uncommitted changes", mend)
    return Check("git", "ok", commit)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def as_dict(checks: list[Check]) -> dict[str, Any]:
    """The JSON of `sear doctor --json`; `ok` is false where any check fails."""
    return {
        "schema_version": 1,
        "ok": all(check.status != "fail" for check in checks),
        "checks": [asdict(check) for check in checks],
    }


def print_checks(checks: list[Check], out: Console | None = None) -> None:
    """A line per check on standard error, and under it how to mend it."""
    from rich.markup import escape

    from flows.render import console

    out = out or console()
    words = {
        "ok": "[green]ok  [/green]",
        "warn": "[yellow]warn[/yellow]",
        "fail": "[bold red]FAIL[/bold red]",
    }
    for check in checks:
        out.print(f"{words[check.status]}  {check.name:<16}  {escape(check.detail)}", soft_wrap=True)
        if check.mend:
            out.print(f"      {'':<16}  → {escape(check.mend)}", soft_wrap=True)
