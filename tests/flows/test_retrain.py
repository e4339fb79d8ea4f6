"""Schedules, notifications, the skipped run and the comparison of a reproduction."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from flows import reproduction, retrain
from flows.config import load_config
from flows.notify import notify
from flows.schedule import check_cron, schedule
from sear_core.errors import InputError
from tasks import lineage
from tasks.dvc_adapter import tracked_version
from tasks.stage import StageFailed
from tasks.tracking import Tracker
from tasks.workspace import Workspace


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_notification_reaches_its_webhook_and_one_that_fails_costs_nothing(webhook, monkeypatch, capsys):
    place, posted = webhook
    monkeypatch.delenv("APPRISE_URLS", raising=False)
    assert notify("title", "body") and not posted
    monkeypatch.setenv("APPRISE_URLS", f"json://{place}/token json://user:hidden@127.0.0.1:9/")
    assert not notify("version 3 promoted", "dsr up")
    assert posted[0]["title"] == "version 3 promoted"
    told = capsys.readouterr().err
    assert "not every one of 2 notifications" in told and "hidden" not in told
    monkeypatch.setenv("APPRISE_URLS", "no-such-scheme://x")
    assert not notify("title", "body")


@pytest.mark.parametrize("cron", ["every day", "61 * * * *", "* * *"])
def test_a_wrong_schedule_is_named_before_a_server_starts(cron, tmp_path):
    with pytest.raises(InputError, match="no cron schedule; expected five fields"):
        schedule(Workspace(tmp_path), cron, None, {})
    assert list(tmp_path.iterdir()) == []


def test_a_schedule_is_a_cron_text_or_an_interval(tmp_path):
    check_cron("0 3 * * *")
    for cron, every in ((None, None), ("0 3 * * *", 5.0)):
        with pytest.raises(InputError, match="either --cron or --every-minutes"):
            schedule(Workspace(tmp_path), cron, every, {})
    with pytest.raises(InputError, match="positive"):
        schedule(Workspace(tmp_path), None, 0.0, {})


def test_an_unchanged_retraining_runs_nothing_and_is_recorded_as_skipped(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(retrain, "plan", lambda *_: {"stages": [{"name": "version", "cached": True}]})
    monkeypatch.setattr(retrain, "run", lambda *_, **__: pytest.fail("something was run"))
    result = retrain.retrain.fn(preset="smoke", root=str(tmp_path))
    assert (result["status"], result["stages"]) == ("skipped", [])
    run = Tracker(Workspace(tmp_path), "sear").client.get_run(result["run_id"])
    assert (run.info.status, run.data.tags["sear.skipped"]) == ("FINISHED", "nothing changed")


def test_a_failure_is_told_and_raised(tmp_path, monkeypatch, webhook):
    place, posted = webhook
    monkeypatch.setenv("APPRISE_URLS", f"json://{place}/")
    with pytest.raises(InputError, match="did you mean 'smoke'"):
        retrain.retrain.fn(preset="smok", root=str(tmp_path))
    assert posted[0]["title"] == "sear retrain (smok): failed"


def test_without_a_server_a_passed_gate_waits_for_the_command(tmp_path, monkeypatch, webhook):
    place, posted = webhook
    monkeypatch.setenv("APPRISE_URLS", f"json://{place}/")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    found = retrain.approve(Workspace(tmp_path), load_config("smoke", sets=["gate.approval=true"]), "7")
    assert found == {"promoted": False, "approval": "no Prefect server to ask on: `sear promote 7`"}
    assert "version 7 of 'sear' has passed the gate" in posted[0]["title"]


RECORDED = {"sear.dsr": 0.5, "sear.dsr.low": 0.4}


def reproduced(dsr=0.5, cached=False, md5="d"):
    return {"arms": {"sear": {"dsr": dsr, "dsr.low": 0.4}}, "stages": [{"name": "prepare", "cached": cached}],
            "data": {"dvc_md5": md5}}  # fmt: skip


@pytest.mark.parametrize(
    ("result", "identical", "same"),
    [
        (reproduced(), True, [True, True]),
        (reproduced(dsr=0.5 + 1e-12), False, [False, True]),  # to the last bit
        (reproduced(cached=True), False, [True, True]),
        (reproduced(md5="e"), False, [True, True]),
        ({**reproduced(), "arms": {"sear": {"dsr": 0.5}}}, False, [True, False]),
    ],
)
def test_a_reproduction_is_identical_in_every_metric_and_takes_nothing_from_a_cache(result, identical, same):
    found = reproduction.compare(RECORDED, {"dvc.md5": "d"}, {"torch": "2", "cores": "2"},
                                 {"torch": "2", "cores": "8"}, result)  # fmt: skip
    assert found["identical"] is identical
    assert [(row["name"], row["identical"]) for row in found["metrics"]] == [
        ("sear.dsr", same[0]), ("sear.dsr.low", same[1]),
    ]  # fmt: skip
    assert found["differs_in"] == {"cores": ["2", "8"]}


def test_a_metric_that_was_not_recorded_is_a_difference_and_one_that_was_not_measured_is_none():
    result = reproduced()
    result["arms"]["sear"] |= {"flip_rate": float("nan")}
    assert reproduction.compare(RECORDED, {"dvc.md5": "d"}, {}, {}, result)["identical"]
    result["arms"]["sear"] |= {"flip_rate": 0.5}
    found = reproduction.compare(RECORDED, {"dvc.md5": "d"}, {}, {}, result)
    assert not found["identical"] and found["metrics"][-1]["recorded"] is None
    reproduction.print_reproduction(found)


def test_new_data_is_made_in_a_worktree_and_committed_on_its_branch(workspace):
    (workspace / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        (workspace / ".dvc" / name).write_text(
            "/config.local\n/tmp\n/cache\n" if name == ".gitignore" else ""
        )
    git(workspace, "add", ".")
    git(workspace, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "dvc")
    update = ["sh", "-c", "head -n 1 data/embedded/prompts.jsonl > data/embedded/more.jsonl"]
    settings = load_config("smoke", sets=[f"retrain.update={json.dumps(update)}"])
    head = lineage.git_tags(workspace)
    with retrain.new_data(settings, Workspace(workspace)) as (moved, commit):
        root = Path(moved.data.root)
        assert (root / "embedded" / "more.jsonl").is_file()
        assert root == workspace / ".sear" / "worktrees" / "data" / "data"
        tracked = tracked_version(root.parent / "data.dvc")
        assert tracked.nfiles == tracked_version(workspace / "data.dvc").nfiles + 1
    assert commit == git(workspace, "rev-parse", "retrain-data") != head["git.commit"]
    assert lineage.git_tags(workspace) == head and not (workspace / "data").exists()
    assert not root.exists()
    with retrain.new_data(settings, Workspace(workspace)) as (_, again):
        assert again == commit  # the branch has it already
    failing = load_config("smoke", sets=['retrain.update=["sh", "-c", "echo no key >&2; exit 4"]'])
    with (
        pytest.raises(StageFailed, match="exit code 4: no key"),
        retrain.new_data(failing, Workspace(workspace)),
    ):
        pass
