"""Progress for a person: stage, step, time left; a bar a running stage on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any


@dataclass
class _Running:
    last_line: float
    bar: Any = None
    first: tuple[float, int] | None = (
        None  # when the first step was told, and which: starting up is not its pace
    )


class Progress:
    """Writes to standard error only; stages may run side by side. `quiet` writes nothing."""

    def __init__(self, stages: int = 0, quiet: bool = False) -> None:
        self.stages, self.quiet, self.count = stages, quiet, 0
        self._running: dict[str, _Running] = {}
        self._bars: Any = None
        if sys.stderr.isatty() and not quiet:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            self._bars = Bars(
                TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._bars.start()

    def start(self, name: str, reason: str) -> None:
        now = time.monotonic()
        self.say(f"{name}: runs ({reason if len(reason) < 100 else reason[:99] + '…'})")
        bar = self._bars.add_task(name, total=None) if self._bars else None
        self._running[name] = _Running(now, bar)

    def update(self, name: str, done: int, total: int) -> None:
        running, now = self._running.get(name), time.monotonic()
        if running is None or not done:
            return
        began, before = running.first = running.first or (now, done)
        if self._bars:
            self._bars.update(running.bar, completed=done, total=total)
        elif now - running.last_line > 15:
            running.last_line = now
            left = (
                f", about {(now - began) / (done - before) * (total - done):.0f} s left"
                if done > before
                else ""
            )
            self.say(f"{name}: {done}/{total}{left}")

    def finish(self, name: str, cached: bool, seconds: float) -> None:
        self.count += 1
        running = self._running.pop(name, None)
        if self._bars and running:
            self._bars.remove_task(running.bar)
        how = "from the store, unchanged" if cached else f"done in {seconds:.1f} s"
        self.say(f"{name}: {how} [{self.count}/{self.stages}]")

    def stop(self) -> None:
        if self._bars:
            self._bars.stop()

    def say(self, text: str) -> None:
        """A line of its own."""
        if self.quiet:
            return
        if self._bars:
            self._bars.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)
