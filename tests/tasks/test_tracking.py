"""MLflow as the project uses it: no run "running" for ever, finite metrics, finding runs, the registry."""

import math
import platform
import subprocess
import sys
import time

import pytest
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from tasks import model_registry
from tasks.tracking import HOST_TAG, PID_TAG, Tracker, clean_metric_name, is_remote
from tasks.workspace import Workspace


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    root = tmp_path_factory.mktemp("tracking")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")
        yield Tracker(Workspace(root), "tracking")


def status(tracker, run) -> str:
    return tracker.client.get_run(run.run_id).info.status


def test_by_default_the_store_is_sqlite_in_mlruns_and_asking_creates_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert Workspace(tmp_path).tracking_uri == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert list(tmp_path.iterdir()) == []
    assert model_registry.by_alias(Workspace(tmp_path).tracking_uri, "sear", "champion") is None
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example.org")
    assert is_remote(Workspace(tmp_path).tracking_uri)


def test_a_store_whose_making_was_killed_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    code = "import sys; from pathlib import Path; from tasks.tracking import configure; "
    code += "from tasks.workspace import Workspace; configure(Workspace(Path(sys.argv[1])))"
    half = tmp_path / "mlruns" / "mlflow.db.new"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (half.is_file() and half.stat().st_size):
            time.sleep(0.005)
        process.kill()
    assert half.is_file() and not (tmp_path / "mlruns" / "mlflow.db").exists()
    Tracker(Workspace(tmp_path), "again")
    assert (tmp_path / "mlruns" / "mlflow.db").is_file() and not half.exists()


def test_artifacts_have_an_absolute_home_whatever_the_working_directory(tracker):
    location = tracker.client.get_experiment(tracker.experiment).artifact_location
    assert location == (tracker.workspace.mlruns / "artifacts").as_uri()


def test_a_run_whose_process_is_gone_is_closed_as_killed_and_others_are_not(tracker):
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    mine = tracker._create("mine", {})
    gone = tracker._create("gone", {PID_TAG: dead.pid})
    elsewhere = tracker._create("elsewhere", {PID_TAG: dead.pid, HOST_TAG: platform.node() + "-other"})
    assert tracker.close_abandoned() == 1
    assert [status(tracker, run) for run in (mine, gone, elsewhere)] == ["RUNNING", "KILLED", "RUNNING"]
    assert tracker.close_abandoned() == 0
    for run in (mine, elsewhere):
        tracker.end(run.run_id)


def test_a_child_run_ends_finished_failed_or_killed_under_its_parent(tracker):
    parent = tracker.start_parent("parent", {"arm": "sear"})
    with tracker.child("good", parent, {}) as good:
        assert status(tracker, good) == "RUNNING"
    with pytest.raises(ValueError), tracker.child("bad", parent, {}) as bad:
        raise ValueError
    with pytest.raises(KeyboardInterrupt), tracker.child("cut", parent, {}) as cut:
        raise KeyboardInterrupt
    assert [status(tracker, run) for run in (good, bad, cut)] == ["FINISHED", "FAILED", "KILLED"]
    assert tracker.client.get_run(bad.run_id).data.tags[MLFLOW_PARENT_RUN_ID] == parent.run_id
    tracker.end(parent.run_id)


def test_the_same_call_goes_on_with_its_interrupted_run_and_its_curves(tracker):
    first = tracker.start_parent("first", {"seed": "0"}, call="c")
    with pytest.raises(KeyboardInterrupt), tracker.child("policy", first, {"sear.key": "k"}) as cut:
        cut.params({"lr": 0.1})
        for step in (1, 2, 3):
            cut.metrics({"loss": 10.0 - step}, step)
        raise KeyboardInterrupt
    tracker.end(first.run_id, KeyboardInterrupt())
    assert tracker.start_parent("other", {}, call="d").run_id != first.run_id  # another call
    again = tracker.start_parent("again", {"seed": "0"}, call="c")
    assert (again.run_id, again.resumed, status(tracker, again)) == (first.run_id, 1, "RUNNING")
    with tracker.child("policy", again, {"sear.key": "k"}) as log:
        assert log.run_id == cut.run_id
        log.params({"lr": 0.1, "workers": 2})
        for step in (3, 4):  # from the checkpoint at step 2 on
            log.metrics({"loss": 10.0 - step}, step)
    with tracker.child("policy", again, {"sear.key": "changed"}) as other:
        assert other.run_id != cut.run_id
    tracker.end(again.run_id)
    run = tracker.client.get_run(cut.run_id)
    assert (run.info.status, run.data.tags["sear.resumed"]) == ("FINISHED", "1")
    history = tracker.client.get_metric_history(cut.run_id, "loss")
    assert [(p.step, p.value) for p in history] == [(1, 9.0), (2, 8.0), (3, 7.0), (4, 6.0)]  # no step twice
    assert tracker.start_parent("new", {}, call="c").run_id != first.run_id  # it has finished


def test_only_finite_numbers_are_logged_under_names_that_mlflow_takes(tracker):
    run = tracker._create("metrics", {})
    run.metrics(
        {
            "a b": 1,
            "x=y": 2.5,
            "nan": math.nan,
            "inf": math.inf,
            "text": "3",
            **{f"m{i}": i for i in range(1000)},
        }
    )
    found = tracker.client.get_run(run.run_id).data.metrics
    assert len(found) == 1002 and found["a b"] == 1 and found["x_y"] == 2.5
    assert clean_metric_name("dsr.a(b)") == "dsr.a_b_"
    tracker.end(run.run_id)


def test_a_final_figure_that_differs_from_its_curve_ends_the_curve(tracker):
    run = tracker._create("summary", {})
    run.metrics({"loss": 3.0, "train_loss": 2.0}, step=5)
    run.summary({"loss": 3.0, "train_loss": 2.5, "accuracy": 0.5, "lost": math.nan})
    found = tracker.client.get_run(run.run_id).data.metrics
    assert found == {"loss": 3.0, "train_loss": 2.5, "accuracy": 0.5}
    assert [p.step for p in tracker.client.get_metric_history(run.run_id, "loss")] == [5]
    assert [p.step for p in tracker.client.get_metric_history(run.run_id, "train_loss")] == [5, 5]
    tracker.end(run.run_id)


def test_a_clock_that_is_set_back_turns_no_curve_and_no_history_round(tracker, tmp_path, monkeypatch):
    import time
    from datetime import UTC, datetime

    run = tracker._create("clock", {})
    run.metrics({"loss": 3.0}, step=5)
    real = time.time
    monkeypatch.setattr("tasks.tracking.time.time", lambda: real() - 7200)
    run.summary({"loss": 2.5})
    assert tracker.client.get_run(run.run_id).data.metrics == {"loss": 2.5}

    class Earlier(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime(2001, 1, 1, tzinfo=UTC)

    versions = [model_registry.create(tracker.uri, "clock", str(tmp_path), run.run_id, {}) for _ in range(3)]
    model_registry.move_champion(tracker.uri, "clock", versions[0], "gate", "")
    monkeypatch.setattr(model_registry, "datetime", Earlier)
    model_registry.move_champion(tracker.uri, "clock", versions[1], "promote", "")
    model_registry.move_champion(tracker.uri, "clock", versions[2], "promote", "")
    moves = model_registry.moves(model_registry.versions(tracker.uri, "clock"))
    assert [(move.before, move.after) for move in moves] == [("", "1"), ("1", "2"), ("2", "3")]
    tracker.end(run.run_id)


def test_the_first_version_is_candidate_and_champion_only_where_promoted(tracker, tmp_path):
    run = tracker._create("register", {})
    (tmp_path / "pyfunc").mkdir()
    (tmp_path / "pyfunc" / "MLmodel").write_text("flavors: {}")
    source = model_registry.link_or_upload(tracker.client, run.run_id, tmp_path / "pyfunc", "model")
    linked = tracker.workspace.mlruns / "artifacts" / run.run_id / "artifacts" / "model" / "MLmodel"
    assert linked.stat().st_ino == (tmp_path / "pyfunc" / "MLmodel").stat().st_ino  # stored once
    listed = model_registry.Registered("toy", "1", "a", source, run_id=run.run_id)
    assert not model_registry.restore(tracker.client, listed, tmp_path / "pyfunc")
    linked.unlink()
    assert model_registry.restore(tracker.client, listed, tmp_path / "pyfunc") and linked.is_file()

    def register(md5, promote):
        tags = {"sear.md5": md5, "metric.dsr": "0.750000"}
        version = model_registry.create(
            tracker.uri, "toy", source, run.run_id, tags | {"sear.key": f"k-{md5}"}
        )
        model_registry.set_aliases(tracker.uri, "toy", version, promote)
        return version

    first, second, third = register("a", False), register("b", True), register("c", False)
    assert (first, second, third) == ("1", "2", "3")
    candidate = model_registry.by_alias(tracker.uri, "toy", model_registry.CANDIDATE)
    champion = model_registry.by_alias(tracker.uri, "toy", model_registry.CHAMPION)
    assert (candidate.version, candidate.md5) == ("3", "c")
    assert (champion.version, champion.metrics) == ("2", {"dsr": 0.75})
    assert model_registry.by_alias(tracker.uri, "toy", "nobody") is None
    assert [model_registry.of_key(tracker.uri, "toy", key) for key in ("k-b", "k-z", "")] == ["2", None, None]
    third = model_registry.by_version(tracker.uri, "toy", "3")
    assert third is not None and third.md5 == "c"
    assert model_registry.by_version(tracker.uri, "toy", "4") is None
    assert model_registry.by_version(tracker.uri, "other", "1") is None
    tracker.end(run.run_id)
