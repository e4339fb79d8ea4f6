"""`sear schedule`: serve the retraining flow on a schedule; needs, or starts, a Prefect server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sear_core.errors import InputError
from tasks.workspace import Workspace

START_SECONDS = 120.0


def check_cron(cron: str) -> None:
    """Raises InputError where the text is no cron schedule."""
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        CronSchedule(cron=cron)
    except ValidationError:
        raise InputError(
            f'--cron {cron!r}: no cron schedule; expected five fields, such as "0 3 * * *" (daily at 3)'
        ) from None


@contextmanager
def server(workspace: Workspace) -> Iterator[str]:
    """The configured Prefect server's URL; or one of our own, with its home in the project, as long as we live."""
    from flows.services import prefect

    url = os.environ.get("PREFECT_API_URL", "")
    if url:
        check = prefect(url, workspace.prefect_home)
        if check.status == "fail":
            raise InputError(f"{check.name}: {check.detail}; {check.mend}")
        yield url
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    url = f"http://127.0.0.1:{port}/api"
    try:
        deadline = time.monotonic() + START_SECONDS
        while prefect(url, workspace.prefect_home).status == "fail":
            if process.poll() is not None or time.monotonic() > deadline:
                raise InputError("the Prefect server did not start; `prefect server start` says why")
            time.sleep(0.5)
        yield url
    finally:
        from tasks.processes import stop_tree

        stop_tree(process.pid)


def schedule(workspace: Workspace, cron: str | None, every: float | None, parameters: dict[str, Any]) -> None:
    """Serve `retrain` until interrupted. cron, or every so many minutes (an unchanged run is skipped in seconds)."""
    if (cron is None) == (every is None):
        raise InputError("expected either --cron or --every-minutes")
    if cron is not None:
        check_cron(cron)
    if every is not None and every <= 0:
        raise InputError(f"--every-minutes {every}: expected a positive number")
    from tasks.processes import own

    own()
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.retrain import retrain

    with server(workspace) as url, temporary_settings({PREFECT_API_URL: url}):
        os.environ["PREFECT_API_URL"] = url  # for the flow runs' processes
        print(f"retraining is served; Prefect's pages: {url.removesuffix('/api')}", file=sys.stderr)
        interval = None if every is None else every * 60
        retrain.serve(
            name="retrain",
            cron=cron,
            interval=interval,
            parameters={**parameters, "root": str(workspace.root)},
        )
