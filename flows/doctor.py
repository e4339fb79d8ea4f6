"""`sear doctor`: what this machine has, what is wrong, and how to mend it. Changes nothing; a few seconds.

Nothing heavier than torch is imported: the schema of an MLflow store is read with sqlite3, servers are asked over
HTTP with a short time-out, DVC's files are parsed.
"""

from __future__ import annotations

import configparser
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console

    from tasks.workspace import Workspace

Status = Literal["ok", "warn", "fail"]
PYTHON = ((3, 11), (3, 15))  # from, below
NEEDED = (
    "torch", "transformers", "trl", "accelerate", "peft", "prefect", "mlflow", "dvc", "great-expectations",
    "pandas", "pyarrow", "pydantic", "cyclopts",
)  # fmt: skip
LOW_RAM, LOW_DISK, NO_DISK = 4.0, 5.0, 1.0  # GB; the demo needs 3 GB of memory and about 1 GB of disk
TIMEOUT = 3.0  # seconds, of a server's answer
HASHED_LIMIT = 4 << 30  # bytes of data/ that are still hashed here


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is, and how to mend it (empty where nothing is to mend)."""

    name: str
    status: Status
    detail: str
    mend: str = ""


def check_all(workspace: Workspace) -> list[Check]:
    """Every check; one that breaks is itself a failed check, so that the others are still seen."""
    checks: list[Callable[[], Check | list[Check]]] = [
        python,
        lambda: libraries(workspace.root / "constraints.txt"),
        device,
        lambda: machine(workspace.root),
        lambda: writable(workspace),
        lambda: git(workspace.root),
        lambda: prefect(os.environ.get("PREFECT_API_URL", ""), workspace.prefect_home),
        lambda: mlflow_store(_tracking_uri(workspace)),
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
        return Check("device", "ok", f"{torch.cuda.device_count()} × {properties.name} (CUDA {torch.version.cuda}), "
                     f"{free:.0f} of {total:.0f} GB free, torch {torch.__version__}")  # fmt: skip
    if torch.backends.mps.is_available():
        return Check("device", "ok", f"Apple GPU (MPS), torch {torch.__version__}")
    if Path("/dev/nvidia0").exists():
        return Check("device", "warn", f"CPU, though a GPU is there; torch {torch.__version__} was built without CUDA "
                     "or finds no driver", "install a CUDA build of torch")  # fmt: skip
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
              f"{disk:.1f} GB free under {root}", "free some space; `.sear/store` holds what can be computed again"
              if disk < LOW_DISK else ""),
        Check("load", "warn" if busy else "ok", f"{load:.1f} on {cores} cores",
              "other programs are busy: times will be longer" if busy else ""),
    ]  # fmt: skip


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
    return Check("git", "warn" if changed else "ok", tags["git.commit"][:12] + (", with uncommitted changes" if changed else ""),
                 "commit them, for runs that can be reproduced" if changed else "")  # fmt: skip


def prefect(api_url: str, home: Path) -> Check:
    if not api_url:
        return Check(
            "Prefect API",
            "ok",
            f"ephemeral, started with each run; home {os.environ.get('PREFECT_HOME', home)}",
        )
    answer = _get(f"{api_url.rstrip('/')}/health")
    if answer == "":
        return Check("Prefect API", "ok", f"{public(api_url)} answers")
    return Check(
        "Prefect API",
        "fail",
        f"{public(api_url)}: {answer}",
        "start it with `prefect server start`, or unset PREFECT_API_URL",
    )


def mlflow_store(uri: str) -> Check:
    """A server's health, or that a SQLite file is a store of the installed MLflow's schema."""
    name = "MLflow store"
    if uri.startswith(("http://", "https://")):
        answer = _get(f"{uri.rstrip('/')}/health")
        return Check(name, "fail" if answer else "ok", f"{public(uri)}: {answer or 'answers'}",
                     "start it with `mlflow server`, or unset MLFLOW_TRACKING_URI" if answer else "")  # fmt: skip
    if not uri.startswith("sqlite:///"):
        known = uri.startswith(("postgresql", "mysql", "mssql", "databricks"))
        return Check(name, "ok" if known else "warn", f"{public(uri)} (not asked here)",
                     "" if known else "MLflow refuses file stores: use SQLite or a server")  # fmt: skip
    path = Path(uri.removeprefix("sqlite:///"))
    if not path.exists():
        return Check(name, "ok", f"{path}: the first run makes it")
    import sqlite3

    try:
        with closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=TIMEOUT)
        ) as database:
            (revision,) = database.execute("select version_num from alembic_version").fetchone()
            (runs,) = database.execute("select count(*) from runs").fetchone()
    except (sqlite3.Error, TypeError) as error:
        return Check(
            name,
            "fail",
            f"{path}: not a readable MLflow database ({error})",
            "move it away; the next run makes a new one",
        )
    expected = schema_head()
    if expected and revision != expected:
        return Check(
            name,
            "fail",
            f"{path}: schema {revision}, this MLflow expects {expected}",
            f"run `mlflow db upgrade {uri}`",
        )
    return Check(name, "ok", f"{path}, {runs} runs")


def schema_head() -> str:
    """The newest schema revision of the installed MLflow, read off its migrations without importing them."""
    spec = find_spec("mlflow")
    folder = (
        Path(spec.origin).parent / "store" / "db_migrations" / "versions" if spec and spec.origin else None
    )
    texts = [path.read_text() for path in folder.glob("*.py")] if folder and folder.is_dir() else []
    have = {m[1] for text in texts if (m := re.search(r'^revision\s*[^=]*=\s*"(\w+)"', text, re.MULTILINE))}
    below = {
        m[1] for text in texts if (m := re.search(r'^down_revision\s*[^=]*=\s*"(\w+)"', text, re.MULTILINE))
    }
    heads = have - below
    return heads.pop() if len(heads) == 1 else ""


def dvc(root: Path) -> list[Check]:
    """data.dvc, whether data/ is what it says, and the remote."""
    from sear_core.errors import InputError
    from tasks.dvc_adapter import matches, tracked_version

    pointer = root / "data.dvc"
    try:
        tracked = tracked_version(pointer)
    except InputError as error:
        return [Check("data version", "fail", str(error), "restore data.dvc with git, or run `dvc add data`")]
    data = root / tracked.path
    if not data.exists():
        version = Check(
            "data version", "ok", f"{tracked.md5}; data/ is not here yet: the first run pulls or rebuilds it"
        )
    elif tracked.size > HASHED_LIMIT:
        version = Check(
            "data version",
            "ok",
            f"{tracked.md5}; {tracked.size / 2**30:.0f} GB, too much to hash here: `dvc status`",
        )
    elif matches(pointer, data):
        version = Check("data version", "ok", f"data/ is {tracked.md5}, {tracked.nfiles} files")
    else:
        version = Check("data version", "fail", f"data/ differs from data.dvc ({tracked.md5})",
                        "`dvc add data` keeps what is there as a new version, `dvc checkout data.dvc --force` goes back")  # fmt: skip
    return [version, _remote(root / ".dvc")]


def _remote(folder: Path) -> Check:
    if not folder.is_dir():
        return Check("DVC remote", "warn", "DVC is not initialised here", "run `dvc init`")
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    # DVC indents its keys, which configparser would take for continued lines
    for file in (folder / "config", folder / "config.local"):
        if file.is_file():
            parser.read_string("\n".join(line.strip() for line in file.read_text().splitlines()))
    remotes = {
        m[1]: parser[section].get("url", "?")
        for section in parser.sections()
        if (m := re.fullmatch(r"'?remote \"(.+)\"'?", section))
    }
    if not remotes:
        return Check(
            "DVC remote", "ok", "none; the embedded corpus needs none (`dvc remote add -d NAME URL` adds one)"
        )
    default = parser.get("core", "remote", fallback="")
    shown = ", ".join(f"{name} → {public(url)}" for name, url in remotes.items())
    if default not in remotes:
        return Check("DVC remote", "warn", f"{shown}; none is the default", "run `dvc remote default NAME`")
    return Check("DVC remote", "ok", f"{shown}; default {default}")


def public(url: str) -> str:
    """A URL without user name and password."""
    return re.sub(r"//[^/]*@", "//", url)


def _tracking_uri(workspace: Workspace) -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.mlruns / 'mlflow.db'}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _get(url: str) -> str:
    """ "" where the URL answers with 2xx, else what went wrong."""
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=TIMEOUT) as response:  # noqa: S310 - the user's own server
            return "" if response.status < 300 else f"status {response.status}"
    except (URLError, OSError, ValueError) as error:
        return f"no answer ({getattr(error, 'reason', error)})"


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
