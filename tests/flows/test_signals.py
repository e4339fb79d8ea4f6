"""Signals as terminals and `timeout` send them, to the whole process group; and what outlives a `kill -9`: nothing."""

from __future__ import annotations

import os
import signal
import time

import kill_resume
from mlflow import MlflowClient


def test_a_signal_to_the_group_ends_a_run_in_order_and_a_kill_takes_its_server_along(
    tmp_path, fresh_workspace
):
    """SIGTERM, SIGINT, SIGKILL while the warm start trains; the second and third run take the first one up."""
    if (
        signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    ):  # tests in a shell's background: children would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    root = fresh_workspace(tmp_path / "checkout")
    store = root / ".sear" / "store" / "warm_start"
    client = None
    for number, (sent, code) in enumerate(
        [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
    ):
        before = {path.stat().st_mtime_ns for path in store.glob("*.partial/job.json")}
        process = kill_resume.start(root, ["--preset", "smoke", "--until", "warm_start"])
        while not {path.stat().st_mtime_ns for path in store.glob("*.partial/job.json")} - before:
            assert process.poll() is None, kill_resume.messages(root).read_text()
            time.sleep(0.02)
        assert len(kill_resume.running_in(root)) >= 3  # the run, Prefect's temporary server, the stage
        if sent == signal.SIGKILL:
            process.kill()
        else:
            os.killpg(process.pid, sent)
        began = time.monotonic()
        process.communicate()
        assert process.returncode == code, kill_resume.messages(root).read_text()
        assert time.monotonic() - began < 30  # seconds; its server away, it took two minutes
        while (left := kill_resume.running_in(root)) and time.monotonic() - began < 60:
            time.sleep(0.1)
        assert left == []
        client = client or MlflowClient(f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")
        runs = client.search_runs(["1"])
        (parent,) = (run for run in runs if "sear.call" in run.data.tags)
        assert parent.data.tags.get("sear.resumed", "0") == str(number)
        if sent != signal.SIGKILL:  # the next start says it of a killed one
            assert {run.info.status for run in runs} <= {"KILLED", "FINISHED"}
            assert parent.info.status == "KILLED"
    said = kill_resume.messages(root).read_text()
    assert "terminated; the same command continues where it was" in said
    assert "interrupted; the same command continues where it was" in said
    assert "Traceback" not in said and "failed" not in said
