"""How a stage runs: looked up, computed once, committed by a rename, and logged as a child run either way."""

import errno
import sys
import threading
import time
import types
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from sear_core.errors import InputError
from tasks import cache
from tasks.config import StageLimits
from tasks.handles import ModelVersion
from tasks.progress import Progress
from tasks.stage import RunContext, Stage, StageFailed, Transient, finite, flat, run_stage
from tasks.tracking import CACHED_TAG, Tracker
from tasks.workspace import Workspace


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A workspace with its own MLflow store; the environment is as before afterwards."""
    root = tmp_path_factory.mktemp("stages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")
        workspace = Workspace(root)
        yield workspace, Tracker(workspace, "stages")


@pytest.fixture
def toy(monkeypatch):
    """A stage module with one `compute` that counts its calls and does what the section says."""
    module = types.ModuleType("toy_stage_module")
    module.calls = []

    def compute(job):
        module.calls.append(job.section)
        kept = job.out / "checkpoints" / "step-1"
        module.resumed = kept.exists()
        kept.parent.mkdir(exist_ok=True)
        kept.write_text("half way")
        (job.out / "model").mkdir(exist_ok=True)
        (job.out / "model" / "weights").write_text(str(job.section["lr"]))
        (job.out / "notes.txt").write_text("small")
        job.log.metrics({"loss": 2.0}, step=1)
        job.log.metrics({"loss": 1.0}, step=2)
        if job.section.get("fails"):
            raise {"input": InputError("row 3: wrong"), "gate": StageFailed("too bad")}[job.section["fails"]]
        return {"name": "toy", "metrics": {"loss": 1.0, "accuracy": 0.5}}

    module.compute = compute
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def stage(name, **section) -> Stage:
    return Stage(
        name=name, module="toy_stage_module", handle=ModelVersion, section={"lr": 0.1, **section},
        essential=("model/",), artifacts=("notes.txt",), arm="sear", heavy=True,
    )  # fmt: skip


def context(tracked, **changes) -> RunContext:
    workspace, tracker = tracked
    parent = tracker.start_parent("run", {"seed": "0"})
    return RunContext(
        workspace=workspace, tracker=tracker, parent=parent, progress=Progress(quiet=True),
        tags={"seed": "0", "dvc.md5": "d"}, **changes,
    )  # fmt: skip


def children(ctx: RunContext) -> list:
    return ctx.tracker.client.search_runs(
        [ctx.tracker.experiment], f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{ctx.parent.run_id}'"
    )


def test_a_computed_stage_leaves_an_entry_a_handle_and_a_finished_child_run(tracked, toy):
    ctx = context(tracked)
    handle = run_stage(stage("computed"), {}, ctx)
    assert (Path(handle.path) / "model" / "weights").read_text() == "0.1"
    assert not (Path(handle.path) / "checkpoints").exists()  # resuming is over
    assert [(o.name, o.cached, o.reason) for o in ctx.outcomes] == [("computed", False, "never run")]
    (child,) = children(ctx)
    assert (child.info.status, child.info.run_id) == ("FINISHED", handle.run_id)
    assert child.data.metrics == {"loss": 1.0, "accuracy": 0.5}
    assert child.data.params == {"lr": "0.1"}
    assert {k: child.data.tags[k] for k in ("seed", "dvc.md5", "arm", "sear.stage")} == {
        "seed": "0", "dvc.md5": "d", "arm": "sear", "sear.stage": "computed",
    }  # fmt: skip
    client: MlflowClient = ctx.tracker.client
    # the final figure is the curve's last point, and no point at step 0 stands before it
    assert [(m.step, m.value) for m in client.get_metric_history(child.info.run_id, "loss")] == [
        (1, 2.0),
        (2, 1.0),
    ]
    assert [a.path for a in client.list_artifacts(child.info.run_id)] == ["notes.txt"]


def test_a_stage_from_the_store_is_not_computed_and_its_child_run_says_who_did(tracked, toy):
    first = run_stage(stage("twice"), {}, context(tracked))
    ctx = context(tracked)
    again = run_stage(stage("twice"), {}, ctx)
    assert again == first and len(toy.calls) == 1
    (child,) = children(ctx)
    assert child.data.tags[CACHED_TAG] == first.run_id != child.info.run_id
    assert child.data.metrics == {"loss": 1.0, "accuracy": 0.5}
    assert [(o.cached, o.reason) for o in ctx.outcomes] == [(True, "unchanged")]


def test_of_two_runs_that_want_the_same_one_computes_and_the_other_waits_and_takes_it(
    tracked, toy, monkeypatch
):
    begun, compute = threading.Event(), toy.compute

    def slow(job):
        begun.set()
        time.sleep(1)
        return compute(job)

    monkeypatch.setattr(toy, "compute", slow)
    said, both = [], []
    contexts = [context(tracked), context(tracked)]
    monkeypatch.setattr(contexts[1].progress, "say", said.append)
    first = threading.Thread(target=lambda: both.append(run_stage(stage("shared"), {}, contexts[0])))
    first.start()
    assert begun.wait(30)
    both.append(run_stage(stage("shared"), {}, contexts[1]))
    first.join()
    assert both[0] == both[1] and len(toy.calls) == 1
    assert said[0] == "shared: another run is computing the same; waiting for it"
    assert [c.outcomes[0].cached for c in contexts] == [False, True]


def test_a_stage_that_died_is_tried_again_as_often_as_its_limits_say(tracked, toy, monkeypatch):
    compute, tries = toy.compute, []

    def dies_twice(job):
        tries.append(job.name)
        if len(tries) < 3:
            compute(job)
            raise Transient("its process was killed")
        return compute(job)

    monkeypatch.setattr(toy, "compute", dies_twice)
    with pytest.raises(Transient):
        run_stage(stage("dying.a"), {}, context(tracked, limits={"dying.a": StageLimits(retries=0)}))
    tries.clear()
    ctx = context(tracked, limits={"dying": StageLimits(retries=2)})
    run_stage(stage("dying.b"), {}, ctx)
    assert len(tries) == 3 and toy.resumed  # it went on from what the broken-off try had left
    (child,) = children(ctx)
    assert (child.info.status, child.data.tags["sear.retries"]) == ("FINISHED", "2")
    history = ctx.tracker.client.get_metric_history(child.info.run_id, "loss")
    assert [(p.step, p.value) for p in history] == [(1, 2.0), (2, 1.0)]


def test_another_config_value_or_force_computes_anew(tracked, toy):
    run_stage(stage("changing"), {}, context(tracked))
    ctx = context(tracked)
    run_stage(stage("changing", lr=0.2), {}, ctx)
    assert ctx.outcomes[0].reason == "config lr: 0.1 → 0.2"
    forced = context(tracked, force=frozenset({"changing"}))
    run_stage(stage("changing"), {}, forced)
    assert forced.outcomes[0].reason == "asked to run anew"
    assert [call["lr"] for call in toy.calls] == [0.1, 0.2, 0.1]


@pytest.mark.parametrize(("fails", "error"), [("input", InputError), ("gate", StageFailed)])
def test_a_failed_stage_has_a_failed_child_no_entry_and_keeps_its_partial_output(tracked, toy, fails, error):
    ctx, failing = context(tracked), stage(f"failing_{fails}", fails=fails)
    with pytest.raises(error):
        run_stage(failing, {}, ctx)
    (child,) = children(ctx)
    assert child.info.status == "FAILED" and ctx.outcomes == []
    (left,) = (ctx.workspace.store / failing.name).iterdir()
    assert left.name.endswith(".partial") and not (left / "entry.json").exists()
    assert (left / "out" / "checkpoints" / "step-1").exists()
    with pytest.raises(error):
        run_stage(failing, {}, context(tracked))
    assert toy.resumed  # the next try finds what the first one left


def test_a_light_stage_begins_with_nothing_of_a_broken_off_try(tracked, toy):
    failing = replace(stage("light", fails="gate"), heavy=False)
    for _ in range(2):
        with pytest.raises(StageFailed):
            run_stage(failing, {}, context(tracked))
        assert not toy.resumed


def test_a_handle_of_another_schema_is_not_believed(tracked, toy):
    handle = run_stage(stage("schema"), {}, context(tracked))
    path = Path(handle.path).parent / "entry.json"
    path.write_text(path.read_text().replace('"name": "toy"', '"nom": "toy"'))
    ctx = context(tracked)
    assert run_stage(stage("schema"), {}, ctx).md5 == handle.md5
    assert ctx.outcomes[0].reason == "cached handle is of another schema"


def test_a_forced_stage_does_not_resume(tracked, toy):
    failing = stage("forced_after_failure", fails="gate")
    with pytest.raises(StageFailed):
        run_stage(failing, {}, context(tracked))
    with pytest.raises(StageFailed):
        run_stage(failing, {}, context(tracked, force=frozenset({failing.name})))
    assert not toy.resumed


def test_a_damaged_output_is_computed_again(tracked, toy):
    handle = run_stage(stage("damaged"), {}, context(tracked))
    (Path(handle.path) / "model" / "weights").write_text("rotten")
    ctx = context(tracked)
    run_stage(stage("damaged"), {}, ctx)
    assert ctx.outcomes[0].reason == "cached output damaged: model/weights has changed"
    assert (Path(handle.path) / "model" / "weights").read_text() == "0.1"


def test_a_full_disk_at_the_commit_leaves_no_entry(tracked, toy, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "file_hashes", full)
    with pytest.raises(OSError, match="No space left"):
        run_stage(stage("full"), {}, context(tracked))
    store = tracked[0].store / "full"
    assert [path.name.endswith(".partial") for path in store.iterdir()] == [True]


def test_only_what_later_stages_read_decides_the_content_hash(tracked, toy):
    one = run_stage(stage("hash_a"), {}, context(tracked))
    other = run_stage(stage("hash_b"), {}, context(tracked))
    assert one.md5 == other.md5  # the same weights
    assert run_stage(stage("hash_c", lr=0.3), {}, context(tracked)).md5 != one.md5


def test_what_could_not_be_scored_is_left_out_and_sections_are_flattened():
    assert finite({"a": 1, "b": float("nan"), "c": float("inf"), "d": "x"}) == {"a": 1.0}
    assert flat({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}
