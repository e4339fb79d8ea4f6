"""What a person without a terminal is told: stage, step, time left."""

from __future__ import annotations

import pytest

from tasks import progress
from tasks.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """`time.monotonic`, moved by hand."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_time_left_is_that_of_the_steps_and_not_of_the_starting_up(clock, capsys):
    shown = Progress(3)
    shown.start("policy", "never run")
    for second, done in [(40.0, 1), (48.0, 3), (60.0, 6)]:  # 40 s to start, then a step in 4 s
        clock[0] = second
        shown.update("policy", done, 10)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "policy: runs (never run)",
        "policy: 1/10",  # one step says nothing about the pace
        "policy: 6/10, about 16 s left",  # 5 steps in 20 s, 4 to go; at 48 s no line: 8 s after the last
    ]


def test_a_resumed_training_is_not_taken_for_a_fast_one(clock, capsys):
    shown = Progress(3)
    shown.start("policy", "never run")
    for second, done in [(10.0, 50), (30.0, 60)]:
        clock[0] = second
        shown.update("policy", done, 100)
    assert (
        capsys.readouterr().err.splitlines()[-1] == "policy: 60/100, about 80 s left"
    )  # 2 s a step, 40 to go


def test_a_quiet_one_writes_nothing(capsys):
    shown = Progress(1, quiet=True)
    shown.start("policy", "never run")
    shown.finish("policy", False, 1.0)
    assert capsys.readouterr().err == ""
