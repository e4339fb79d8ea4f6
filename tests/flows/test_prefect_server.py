"""Against a real Prefect server: schedules that fire, runs cancelled in its API, a person's approval."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import pytest

from flows.servers import prefect_server
from tasks.workspace import Workspace

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds, on a busy machine


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        with prefect_server(tmp_path_factory.mktemp("prefect")) as url:
            yield url


def ask(url: str, body: dict[str, Any]) -> Any:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as response:
        return json.load(response)


def flow_runs(url: str, *states: str) -> list[dict[str, Any]]:
    wanted = {"flow_runs": {"state": {"type": {"any_": list(states)}}}}
    return ask(f"{url}/flow_runs/filter", wanted)


def cancel(url: str, flow_run: str) -> None:
    """What the button in the pages does."""
    ask(f"{url}/flow_runs/{flow_run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})


def until(
    found: Callable[[], Any], process: subprocess.Popen[str] | None = None, log: Path | None = None
) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (value := found()):
        told = log.read_text() if log else ""
        assert process is None or process.poll() is None, told
        assert time.monotonic() < deadline, told
        time.sleep(0.2)
    return value


def called(root: Path, log: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "PREFECT_", "SEAR_"))}
    with log.open("w") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "flows", *arguments], cwd=root, stdout=file, stderr=subprocess.STDOUT,
            env=own | {"PYTHONPATH": str(REPOSITORY), **environment}, start_new_session=True, text=True,
        )  # fmt: skip


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_schedule_starts_a_server_fires_can_be_cancelled_and_ends_in_order(workspace, webhook):
    """Every six seconds: the first update fails, the second is cancelled while it sleeps; SIGTERM ends the third."""
    place, posted = webhook
    (workspace / ".dvc").mkdir()
    (workspace / ".dvc" / "config").touch()
    subprocess.run(["git", "-C", workspace, "add", ".dvc"], check=True)
    own = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", workspace, *own, "commit", "-qm", "dvc"], check=True)
    seen, log = workspace.parent / "seen", workspace.parent / "log"
    script = f"test -f {seen} || {{ touch {seen}; echo no key; exit 3; }}; sleep 600 & echo $! > {seen}; wait"
    process = called(
        workspace, log, "schedule", "--preset", "smoke", "--every-minutes", "0.1",
        "--set", f"retrain.update={json.dumps(['sh', '-c', script])}", APPRISE_URLS=f"json://{place}/",
    )  # fmt: skip
    try:
        until(lambda: "Prefect's pages: http" in log.read_text(), process, log)
        api = log.read_text().partition("pages: ")[2].split()[0] + "/api"
        assert until(lambda: flow_runs(api, "SCHEDULED"), process, log)[0]["auto_scheduled"]
        failed = until(lambda: flow_runs(api, "FAILED"), process, log)[0]
        assert "ended with exit code 3: no key" in failed["state"]["message"]
        sleeping = int(until(lambda: seen.read_text(), process, log))
        cancel(api, until(lambda: flow_runs(api, "RUNNING"), process, log)[0]["id"])
        until(lambda: flow_runs(api, "CANCELLED"), process, log)
        until(lambda: gone(sleeping))
        third = until(lambda: (pid := int(seen.read_text() or 0)) != sleeping and pid, process, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) == 143
        assert gone(third)
    finally:
        left = (
            [process, *psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
        )
        for child in left:
            child.kill()
    said = log.read_text()
    assert "sear retrain (smoke): failed" in said and "RuntimeWarning" not in said
    assert [message["title"] for message in posted[:2]] == ["sear retrain (smoke): failed"] * 2
    with pytest.raises(OSError):
        urlopen(f"{api}/health", timeout=3)


def test_a_run_that_is_cancelled_in_prefect_stops_its_stage_and_is_killed_in_mlflow(workspace, server):
    from mlflow import MlflowClient

    log = workspace.parent / "log"
    process = called(
        workspace, log, "run", "--preset", "smoke", "--set", "launcher=process", "--set", "warm_start.epochs=1000",
        "--until", "warm_start", PREFECT_API_URL=server,
    )  # fmt: skip
    store = workspace / ".sear" / "store"
    until(lambda: list(store.glob("warm_start/*.partial/progress")), process, log)
    stages = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    cancel(server, flow_runs(server, "RUNNING")[0]["id"])
    assert process.wait(timeout=PATIENCE) == 1
    assert "the flow run was cancelled in Prefect" in log.read_text()
    until(lambda: all(gone(pid) for pid in stages))
    client = MlflowClient(f"sqlite:///{workspace / 'mlruns' / 'mlflow.db'}")
    runs = client.search_runs(["1"])
    assert {run.data.tags.get("sear.stage", "parent"): run.info.status for run in runs} == {
        "parent": "KILLED", "version": "FINISHED", "prepare": "FINISHED", "validate": "FINISHED",
        "warm_start": "KILLED",
    }  # fmt: skip
    assert flow_runs(server, "RUNNING", "CANCELLING") == []


@pytest.fixture
def passed(tmp_path, monkeypatch, server) -> tuple[Workspace, str]:
    """A registry with one version whose gate has passed, and this process on the server; (the workspace, its URI)."""
    from tasks import model_registry
    from tasks.tracking import Tracker

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("PREFECT_API_URL", server)
    workspace = Workspace(tmp_path)
    tracker = Tracker(workspace, "sear")
    run = tracker.start_parent("run", {})
    tracker.end(run.run_id)
    version = model_registry.create(
        tracker.uri, "sear", str(tmp_path), run.run_id, {"gate": "passed", model_registry.RIVAL_TAG: "none"}
    )
    assert version == "1"
    return workspace, tracker.uri


def test_a_person_who_is_asked_on_the_server_promotes_or_not_and_who_stays_away_promotes_nothing(
    passed, server, monkeypatch
):
    """A paused flow run, answered through the API as the pages do."""
    from prefect import flow
    from prefect.flow_runs import resume_flow_run
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows import retrain
    from flows.config import load_config
    from tasks import model_registry

    workspace, uri = passed
    settings = load_config("smoke", sets=["gate.approval=true"])
    monkeypatch.setattr(retrain, "POLL_SECONDS", 1)

    def champion() -> str | None:
        found = model_registry.by_alias(uri, "sear", model_registry.CHAMPION)
        return found and found.version

    def answered(hours: float, answer: dict[str, Any] | None) -> str:
        @flow(name="waits")
        def waits() -> dict[str, Any]:
            asked = settings.retrain.model_copy(update={"approval_hours": hours})
            return retrain.approve(workspace, settings.model_copy(update={"retrain": asked}), "1")

        def person() -> None:
            paused = until(lambda: flow_runs(server, "PAUSED"))[0]
            with temporary_settings({PREFECT_API_URL: server}):
                resume_flow_run(paused["id"], run_input=answer)

        if answer is not None:
            threading.Thread(target=person, daemon=True).start()
        with temporary_settings({PREFECT_API_URL: server}):
            return str(waits()["approval"])

    assert answered(1, {"promote": False, "reason": "odd answers"}) == "refused by a person: odd answers"
    assert champion() is None
    assert answered(0.001, None) == "nobody answered in 0.001 hours"
    assert champion() is None
    assert answered(1, {"promote": True, "reason": "read 50"}) == "approved by a person: read 50"
    assert champion() == "1"
    moves = model_registry.moves(model_registry.versions(uri, "sear"))
    assert [(move.after, move.reason) for move in moves] == [("1", "approved: read 50")]
