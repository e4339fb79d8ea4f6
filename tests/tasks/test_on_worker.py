"""A worker of a cluster: what it refuses to compute, and when it stops."""

import json

import pytest

from flows.config import load_config
from flows.pipeline import stages
from sear_core.errors import InputError
from tasks import on_worker
from tasks.fingerprint import code_fingerprint, library_versions
from tasks.progress import Progress
from tasks.stage import RunContext, Stage


@pytest.fixture
def order(tmp_path):
    stage = next(s for s in stages(load_config("smoke")) if s.name == "warm_start")
    made_of = {
        "code": dict(code_fingerprint(stage.module, stage.resources)),  # which is cached
        "libraries": library_versions(*stage.libraries),
    }
    return {
        "stage": stage.as_json(), "node": "warm_start-0", "shown": "warm_start", "inputs": {}, "made_of": made_of,
        "root": str(tmp_path), "folder": str(tmp_path / "fan-out"), "tracking_uri": "sqlite:///none", "environment": {},
    }  # fmt: skip


@pytest.fixture
def pulse(tmp_path):
    path = tmp_path / "fan-out" / on_worker.PULSE
    path.parent.mkdir()
    path.write_text('{"beat": 0, "cancelled": ""}')
    return path


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # obey sets it


def test_a_stage_survives_its_way_as_json():
    for stage in stages(load_config("smoke")):
        assert Stage.from_json(json.loads(json.dumps(stage.as_json()))) == stage


def test_a_worker_that_does_not_see_the_project_says_so(order):
    with pytest.raises(
        InputError, match="is not the project's folder here; expected it on a shared file system"
    ):
        on_worker.obey(json.dumps(order))


@pytest.mark.parametrize(
    ("part", "name", "expected"),
    [
        ("code", "tasks/warm_start.py", "code tasks/warm_start.py changed"),
        ("libraries", "torch", "library torch:"),
    ],
)
def test_a_worker_with_other_code_or_libraries_refuses(order, pulse, part, name, expected):
    assert name in order["made_of"][part]
    order["made_of"][part][name] = "another"
    with pytest.raises(InputError, match="not the code and libraries of this call") as error:
        on_worker.obey(json.dumps(order))
    assert expected in str(error.value)


def context() -> RunContext:
    return RunContext(workspace=None, tracker=None, parent=None, progress=Progress(quiet=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["cancelled", "gone", "silent"])
def test_a_worker_stops_when_its_asker_says_so_or_is_gone(how, pulse, monkeypatch):
    run = context()
    with on_worker._listening(pulse, run):
        assert not run.cancelled.wait(1.2)
        if how == "cancelled":
            pulse.write_text('{"beat": 1, "cancelled": "another stage failed"}')
        elif how == "gone":
            pulse.unlink()
        else:
            monkeypatch.setattr(on_worker, "PATIENCE", 1.0)
        assert run.cancelled.wait(5)
    reasons = {"cancelled": "another stage failed", "gone": "has ended", "silent": "nothing was heard"}
    assert reasons[how] in run.why_cancelled


def test_tries_are_counted_by_what_was_begun(tmp_path):
    letters = tmp_path / "policy.jsonl"
    assert on_worker._tries(letters) == 0
    relay = on_worker.Relay(letters)
    relay.tell("begin", "policy")
    relay.update("policy", 1, 4)
    relay.update("policy", 2, 4)  # within the same second: not told
    assert on_worker._tries(letters) == 1
    assert [json.loads(line)[0] for line in letters.read_text().splitlines()] == ["begin", "update"]
