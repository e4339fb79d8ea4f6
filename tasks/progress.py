"""Progress for a person: stage, step, time left; a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any


class Progress:
    """Writes to standard error only. `quiet` writes nothing."""

    def __init__(self, stages: int = 0, quiet: bool = False) -> None:
        self.stages, self.quiet, self.count = stages, quiet, 0
        self.terminal = sys.stderr.isatty() and not quiet
        self._bar: Any = None
        self._task: Any = None
        self._name, self._started, self._last_line = "", 0.0, 0.0

    def start(self, name: str, reason: str) -> None:
        self._name, self._started, self._last_line = name, time.monotonic(), time.monotonic()
        self._say(f"[{self.count + 1}/{self.stages}] {name}: {reason}")
        if self.terminal:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("        {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task(name, total=None)
            self._bar.start()

    def update(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)
        elif time.monotonic() - self._last_line > 15 and done:
            self._last_line = time.monotonic()
            left = (time.monotonic() - self._started) / done * (total - done)
            self._say(f"        {self._name}: {done}/{total}, about {left:.0f} s left")

    def finish(self, name: str, cached: bool, seconds: float) -> None:
        self.stop()
        self.count += 1
        if cached:
            self._say(f"[{self.count}/{self.stages}] {name}: cached, unchanged")
        else:
            self._say(f"        {name}: done in {seconds:.1f} s")

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _say(self, text: str) -> None:
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)
