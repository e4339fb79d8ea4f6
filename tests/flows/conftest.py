"""A workspace of its own for whole runs, and the `sear` command as a user calls it."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Called:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON value: fails where anything else is there."""
        return json.loads(self.out)


def sear(workspace: Path, *arguments: str, timeout: float = 540) -> Called:
    """`sear ARGUMENTS` in a workspace, without the caller's own MLflow or Prefect."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "PREFECT_"))}
    environment["PYTHONPATH"] = str(REPOSITORY)
    done = subprocess.run(
        [sys.executable, "-m", "flows", *arguments],
        cwd=workspace, env=environment, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    return Called(done.returncode, done.stdout, done.stderr)


def git(folder: Path, *arguments: str) -> str:
    own = ("-c", "user.name=tests", "-c", "user.email=tests@example.org")
    done = subprocess.run(
        ["git", "-C", str(folder), *own, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def make_workspace(folder: Path) -> Path:
    """A git checkout with this repository's data.dvc and .gitignore and nothing else: no data/, no store."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("data.dvc", ".gitignore"):
        shutil.copy(REPOSITORY / name, folder)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "start")
    return folder


@pytest.fixture(scope="session")
def run_sear() -> Callable[..., Called]:
    return sear


@pytest.fixture(scope="session")
def fresh_workspace() -> Callable[[Path], Path]:
    return make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return make_workspace(tmp_path / "checkout")


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that keeps what is posted to it: (its host and port, the messages)."""
    posted: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{found.server_port}", posted
    found.shutdown()
    found.server_close()
