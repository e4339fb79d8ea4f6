"""Promotion and its history, export, and what `sear clean` takes and leaves; a real registry, models of a few bytes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from flows import promotion, tidy
from flows.export import export
from sear_core.errors import InputError
from tasks import model_registry
from tasks.cache import Parts, Store
from tasks.model_registry import CHAMPION, RIVAL_TAG
from tasks.tracking import Tracker
from tasks.workspace import Workspace


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A workspace whose registry holds versions 1 (passed, champion), 2 (failed) and 3 (passed against 1)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        workspace = Workspace(tmp_path_factory.mktemp("operations"))
        tracker = Tracker(workspace, "sear")
        gates = {"1": ("passed", "none"), "2": ("failed", "1 md5-1"), "3": ("passed", "1 md5-1")}
        for number, (gate, rival) in gates.items():
            parent = tracker.start_parent(f"run-{number}", {"git.commit": "c0ffee"})
            parent.metrics({"dsr": 0.5, "dsr.low": 0.4, "dsr.high": 0.6})
            config = workspace.root / "config.json"
            source = {"name": "prompts", "role": "rl_prompts", "licence": "CC-BY-4.0"}
            config.write_text(json.dumps({"seed": 7, "data": {"sources": [source]}}))
            parent.artifact(config)
            with tracker.child("register", parent, {"sear.key": f"key-{number}"}) as log:
                model = workspace.root / f"model-{number}" / "artifacts" / "model"
                model.mkdir(parents=True)
                (model / "config.json").write_text("{}")
                (model / "config.json").chmod(0o600)  # as safetensors makes its files
                tags = {
                    "sear.md5": f"md5-{number}", "gate": gate, "gate.reasons": "dsr 0.1 fails", RIVAL_TAG: rival,
                    "arm": "sear", "metric.dsr": "0.5",
                }  # fmt: skip
                folder = workspace.root / f"model-{number}"
                made = model_registry.create(tracker.uri, "sear", folder.as_uri(), log.run_id, tags)
                model_registry.set_aliases(tracker.uri, "sear", made, promote=number == "1")
            tracker.end(parent.run_id)
        yield workspace, tracker


def champion(tracker) -> str:
    return model_registry.by_alias(tracker.uri, "sear", CHAMPION).version


def test_the_gate_refuses_force_overrules_with_a_reason_and_rollback_goes_back_step_by_step(project):
    workspace, tracker = project
    assert champion(tracker) == "1"
    with pytest.raises(promotion.Refused, match=r"its gate has not passed: dsr 0\.1 fails"):
        promotion.promote(workspace, "2")
    with pytest.raises(InputError, match="expected --reason"):
        promotion.promote(workspace, "2", force=True)
    with pytest.raises(InputError, match="no such version; there are: 3, 2, 1"):
        promotion.promote(workspace, "9")
    assert champion(tracker) == "1"
    promotion.promote(workspace, "3")
    assert promotion.promote(workspace, "2", force=True, reason="a demonstration")["move"]["how"] == "force"
    # version 1's gate met no champion, but now there is one
    with pytest.raises(promotion.Refused, match="passed against no champion, but version 2 is in place"):
        promotion.promote(workspace, "1")
    assert promotion.promote(workspace, "2")["move"] is None  # is champion already
    assert [promotion.rollback(workspace)["champion"] for _ in range(2)] == ["3", "1"]
    with pytest.raises(InputError, match="version 1 was the first champion"):
        promotion.rollback(workspace)
    found = promotion.history(workspace)
    assert [(m["before"], m["after"], m["how"]) for m in found["moves"]] == [
        ("", "1", "gate"), ("1", "3", "promote"), ("3", "2", "force"), ("2", "3", "rollback"), ("3", "1", "rollback"),
    ]  # fmt: skip
    assert found["moves"][2]["reason"] == "a demonstration"
    assert [(v["version"], v["aliases"]) for v in found["versions"]] == [
        ("3", ["candidate"]), ("2", []), ("1", ["champion"]),
    ]  # fmt: skip
    run = tracker.client.get_run(model_registry.by_version(tracker.uri, "sear", "2").run_id)
    parent = tracker.client.get_run(run.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["sear.promoted"] == "force: a demonstration"


def test_an_exported_version_has_a_card_with_data_metrics_and_the_warning(project, tmp_path):
    workspace, _ = project
    out = export(workspace, tmp_path / "out", version="3")
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.json"]
    assert len({path.stat().st_mode for path in out.iterdir()}) == 1  # as readable as the card
    card = (out / "README.md").read_text()
    assert "| dsr | 0.500 [0.400, 0.600] |" in card and "prompts (rl_prompts): CC-BY-4.0" in card
    assert "the reasoning is not for readers" in card and "c0ffee" in card and "seed 7" in card
    with pytest.raises(InputError, match="is there already"):
        export(workspace, tmp_path / "out", version="3")


def test_clean_lists_first_and_never_takes_what_a_version_or_a_young_run_needs(project):
    workspace, tracker = project
    store = Store(workspace.store, workspace.locks)

    def output(stage: str) -> Parts:
        parts = Parts(stage, {}, {}, {})
        out = store.partial(parts) / "out"
        out.mkdir(parents=True)
        (out / "weights").write_text("x" * 1000)
        store.commit(parts, {"path": "out"}, ())
        os.utime(store.entry_dir(parts) / "entry.json", (1.0, 1.0))
        return parts

    needed, used, lonely = output("policy.sear"), output("warm_start"), output("prepare")
    versions = model_registry.versions(tracker.uri, "sear")
    family = tracker.client.get_run(versions[0].run_id).data.tags["mlflow.parentRunId"]
    old = tracker.start_parent("old", {})
    for parent_id, parts in ((family, needed), (old.run_id, used)):
        run = tracker._create(parts.stage, {"mlflow.parentRunId": parent_id, "sear.stage": parts.stage,
                                            "sear.key": parts.key})  # fmt: skip
        tracker.end(run.run_id)
    tracker.end(old.run_id)
    assert [item["name"] for item in tidy.clean(workspace, 30)["items"]] == [
        f".sear/store/prepare/{lonely.key}"
    ]
    time.sleep(0.01)
    listed = tidy.clean(workspace, 0)  # now the run "old" is older than the limit, and its output with it
    names = {
        (item["kind"], Path(item["name"]).parent.name) for item in listed["items"] if item["kind"] == "output"
    }
    assert names == {("output", "prepare"), ("output", "warm_start")} and not listed["removed"]
    assert old.run_id in {item["name"] for item in listed["items"]} and listed["bytes"] >= 2000
    assert store.lookup(lonely).hit and store.lookup(used).hit
    assert tidy.clean(workspace, 0, yes=True)["removed"]
    assert store.lookup(needed).hit and not store.lookup(lonely).hit and not store.lookup(used).hit
    assert tracker.client.get_run(old.run_id).info.lifecycle_stage == "deleted"
    assert tracker.client.get_run(family).info.lifecycle_stage == "active"
    assert tidy.clean(workspace, 0)["items"] == []
