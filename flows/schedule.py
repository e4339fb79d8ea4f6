"""`sear schedule`: serve the retraining flow on a schedule; needs, or starts, a Prefect server."""

from __future__ import annotations

import hashlib
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from filelock import FileLock, Timeout

from flows.servers import prefect_server
from sear_core.errors import InputError
from tasks.workspace import Workspace


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
    workspace.locks.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(workspace.locks / "schedule.lock").acquire(timeout=0)
    except Timeout:  # two servers on one database would both schedule
        raise InputError(
            f"{workspace.root}: another `sear schedule` serves this checkout on a server of its own; stop it, or start "
            "one server for both (`prefect server start`) and set PREFECT_API_URL"
        ) from None
    with lock, prefect_server(workspace.prefect_home) as url:
        yield url


def deployment(workspace: Workspace, parameters: dict[str, Any]) -> str:
    """Its name on the server: checkouts that share one, or two presets of a checkout, must not replace each other's."""
    what = parameters.get("config") or parameters.get("preset") or "demo"
    text = "\n".join([platform.node(), str(workspace.root), str(what)])
    return f"retrain-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def schedule(workspace: Workspace, cron: str | None, every: float | None, parameters: dict[str, Any]) -> None:
    """Serve `retrain` until interrupted. cron, or every so many minutes (an unchanged run is skipped in seconds)."""
    if (cron is None) == (every is None):
        raise InputError("expected either --cron or --every-minutes")
    if cron is not None:
        check_cron(cron)
    if every is not None and every <= 0:
        raise InputError(f"--every-minutes {every}: expected a positive number")
    import asyncio

    from prefect.flows import EntrypointType
    from prefect.runner import Runner
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.retrain import retrain
    from tasks import processes

    terminated = False
    stop: list[Callable[[], object]] = []  # what stops the serving, once it has begun

    class Served(Runner):
        def handle_sigterm(self, *_: Any, **__: Any) -> None:
            """As Ctrl-C, which a background job ignores: Prefect's own handler never awaits its `stop`."""
            nonlocal terminated
            terminated = True
            for function in stop:
                function()

    processes.own()
    processes.sweep(workspace.root)
    with server(workspace) as url, temporary_settings({PREFECT_API_URL: url}):
        os.environ["PREFECT_API_URL"] = url  # for the flow runs' processes
        name = deployment(workspace, parameters)
        runner = Served(name=name, limit=1)  # two of one project would wait for each other's stages
        runner.add_flow(
            retrain, name=name, cron=cron, interval=None if every is None else every * 60,
            parameters={**parameters, "root": str(workspace.root)}, entrypoint_type=EntrypointType.MODULE_PATH,
        )  # fmt: skip
        when = f"cron {cron!r}" if cron else f"every {every:g} minutes"
        print(f"retraining is served as {retrain.name}/{name}, {when}; Prefect's pages: "
              + url.removesuffix("/api"), file=sys.stderr)  # fmt: skip
        before = signal.getsignal(signal.SIGTERM)
        try:
            asyncio.run(_until_interrupted(runner.start(), stop))
        except (KeyboardInterrupt, asyncio.CancelledError):
            signal.signal(signal.SIGTERM, before)
            if terminated:
                signal.raise_signal(signal.SIGTERM)  # for its own exit code
            raise


async def _until_interrupted(serving: Coroutine[Any, Any, None], stop: list[Callable[[], object]]) -> None:
    """Interrupted, it stops the flow runs too: Prefect's runner would wait for their processes to end by themselves.

    `stop` is given what interrupts it from a signal's handler.
    """
    import asyncio

    loop, me = asyncio.get_running_loop(), asyncio.current_task()
    assert me is not None
    stop.append(lambda: loop.call_soon_threadsafe(me.cancel))
    task = asyncio.ensure_future(serving)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        threading.Thread(target=_stop_flow_runs, daemon=True).start()
        task.cancel()
        await asyncio.wait([task])
        raise


def _stop_flow_runs() -> None:
    """Stop the processes that the runner has spawned, and those that it was about to; as long as we live."""
    import psutil

    from tasks import processes

    while True:
        for child in psutil.Process().children():
            with suppress(psutil.Error):
                if any("multiprocessing.spawn" in word for word in child.cmdline()):
                    processes.stop_tree(child.pid)
        time.sleep(0.2)
