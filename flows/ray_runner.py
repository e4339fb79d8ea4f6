"""Prefect's Ray task runner without Ray's own handler of SIGTERM, which would end a run out of order."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Any, Self

from prefect_ray import RayTaskRunner


class QuietRayTaskRunner(RayTaskRunner[Any]):
    def __enter__(self) -> Self:
        before = signal.getsignal(signal.SIGTERM)
        super().__enter__()
        with suppress(ValueError):  # not in the main thread: Ray has set none
            signal.signal(signal.SIGTERM, before)
        return self
