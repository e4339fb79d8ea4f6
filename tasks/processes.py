"""Processes that must not outlive the run that started them.

A run names itself in the environment (`SEAR_OWNER`), which its children inherit, through however many launchers:
a child asks now and then whether the owner still lives, and ends where not; the next run of the checkout
sweeps up what does not do so itself.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

OWNER = "SEAR_OWNER"
GRACE_SECONDS = 10.0


def token(pid: int) -> str:
    """`<pid>-<start>`: a process id alone is given to others later. "" where there is no such process.

    The start is in clock ticks since boot where /proc tells it: it does not move when the clock is set.
    """
    try:
        if (stat := Path(f"/proc/{pid}/stat")).exists():
            state, *fields = stat.read_text().rpartition(")")[2].split()
            return "" if state == "Z" else f"{pid}-{fields[18]}"  # field 22 of proc(5): starttime
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{pid}-{process.create_time():.0f}"
    except (OSError, psutil.Error):
        return ""


def alive(name: str) -> bool:
    """Whether the process of that token still runs; a bare process id counts too."""
    pid = name.partition("-")[0]
    if not pid.isdigit():
        return False
    now = token(int(pid))
    return now == name or ("-" not in name and bool(now))


def own() -> str:
    """Name this process as the owner of all that it starts from here."""
    os.environ[OWNER] = name = token(os.getpid())
    return name


def end_with_owner(seconds: float = 1.0) -> None:
    """From here on this process's group is killed once its owner is gone; nothing where it has none.

    For processes that were started in a session of their own alone: a stage's, Prefect's temporary server.
    """
    name = os.environ.get(OWNER, "")
    if not name or name == token(os.getpid()):
        return

    def watch() -> None:
        while alive(name):
            time.sleep(seconds)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def stop_tree(pid: int, grace: float = GRACE_SECONDS) -> None:
    """SIGTERM to a process and all its descendants, whatever groups they are in; SIGKILL to what is left."""
    tree: list[psutil.Process] = []
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    for process in tree:
        with suppress(psutil.Error):
            process.terminate()
    _, left = psutil.wait_procs(tree, timeout=grace)
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=grace)


def sweep(root: Path) -> list[int]:
    """Stop this checkout's processes whose owner is gone; returns their ids.

    A checkout's processes are those that inherited an owner and Prefect's home inside `root`, or work in `root`.
    """
    gone: list[int] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.uids().real != os.getuid():
                continue
            environment = process.environ()
            name = environment.get(OWNER, "")
            if not name or alive(name):
                continue
            places = (environment.get("PREFECT_HOME", ""), process.cwd())
            if any(_within(place, root) for place in places):
                gone.append(process.pid)
                process.terminate()
    _stop_all(gone)
    return gone


def _stop_all(pids: Iterable[int]) -> None:
    left = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, left = psutil.wait_procs(left, timeout=3)
    for process in left:
        with suppress(psutil.Error):
            process.kill()


def _within(place: str, root: Path) -> bool:
    return bool(place) and Path(place).is_relative_to(root)
