"""What `sear doctor` asks of Prefect, MLflow and DVC: without importing them, without changing anything.

Servers are asked over HTTP with a short time-out, the schema of an MLflow store is read with sqlite3, DVC's
files are parsed.
"""

from __future__ import annotations

import configparser
import os
import re
import tempfile
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tasks.secrets import public

Status = Literal["ok", "warn", "fail"]
TIMEOUT = 3.0  # seconds, of a server's answer
HASHED_LIMIT = 4 << 30  # bytes of data/ that are still hashed here


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is, and how to mend it (empty where nothing is to mend)."""

    name: str
    status: Status
    detail: str
    mend: str = ""


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
        if answer:
            mend = "start it with `mlflow server`, or unset MLFLOW_TRACKING_URI"
            return Check(name, "fail", f"{public(uri)}: {answer}", mend)
        return Check(name, "ok", f"{public(uri)} answers")
    if not uri.startswith("sqlite:///"):
        if uri.startswith(("postgresql", "mysql", "mssql")):
            return _database(name, uri)
        if uri.startswith(("databricks", "uc:")):
            return Check(name, "ok", f"{public(uri)} (not asked here)")
        mend = "expected http(s)://…, sqlite:///… or a database's URI; MLflow refuses file stores"
        return Check(name, "fail", f"{public(uri)}: no store of MLflow's", mend)
    path = Path(uri.removeprefix("sqlite:///"))
    if not path.exists():
        place = next(folder for folder in path.absolute().parents if folder.exists())
        try:
            with tempfile.NamedTemporaryFile(dir=place):
                pass
        except OSError as error:
            return Check(name, "fail", f"{path}: cannot be made: {place}: {error.strerror}",
                         "chown or chmod that folder, or name another one")  # fmt: skip
        return Check(name, "ok", f"{path}: the first run makes it")
    import sqlite3

    try:
        with closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=TIMEOUT)
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


def require(*checks: Check) -> None:
    """Raise InputError for the first check that failed: before anything is waited for, or lost."""
    from sear_core.errors import InputError

    for check in checks:
        if check.status == "fail":
            raise InputError(f"{check.name}: {check.detail}; {check.mend}")


def _database(name: str, uri: str) -> Check:
    """Whether a database server can be connected to. MLflow itself would try for hours."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    options = {} if uri.startswith("mssql") else {"connect_timeout": int(TIMEOUT)}
    try:
        create_engine(uri, connect_args=options).connect().close()
    except (SQLAlchemyError, ImportError) as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        return Check(name, "fail", f"{public(uri)}: {public(cause)}",
                     "start the database, install its driver, or unset MLFLOW_TRACKING_URI")  # fmt: skip
    return Check(name, "ok", f"{public(uri)} answers")


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
        mend = "`dvc add data` records it as a new version, `dvc checkout data.dvc --force` goes back"
        version = Check("data version", "fail", f"data/ differs from data.dvc ({tracked.md5})", mend)
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


def _get(url: str) -> str:
    """ "" where the URL answers with 2xx, else what went wrong."""
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=TIMEOUT) as response:  # noqa: S310 - the user's own server
            return "" if response.status < 300 else f"status {response.status}"
    except (URLError, OSError, ValueError) as error:
        return f"no answer ({getattr(error, 'reason', error)})"
