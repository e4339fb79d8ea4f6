"""An evaluation in shards is the evaluation in one, down to its key; a shard that is killed is tried again alone."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows import evaluate
from flows.config import load_config
from flows.pipeline import selection
from flows.plan import plan
from sear_core.errors import InputError
from tasks.workspace import Workspace

CONFIG = """
extends = "smoke"
[evaluation]
limit = 6
batch_size = 5
max_new_tokens = 8
attacks = ["benign_hijack", "answer_prefill", "deadly:DEADLY"]
[limits.evaluation]
retries = 1
"""
# an attack under which the process of the first evaluation that is let, or of its first shard, dies; once
ATTACK = """
import os, signal
from pathlib import Path
from sear_core.evaluation.attacks import Attack, Sent

def build(given):
    try:
        Path("let").rename("died")
    except FileNotFoundError:
        return Sent(given.row.prompt + " kindly")
    os.kill(os.getpid(), signal.SIGKILL)

DEADLY = Attack("deadly", "dies", build)
"""
ARGUMENTS = ("run", "--config", "small.toml", "--until", "evaluation.sft", "--json")
SHARDS = [f"generation.sft.{phase}.{index}" for phase in ("none", "attacks") for index in (1, 2)]


def checkout(root: Path) -> Path:
    (root / "small.toml").write_text(CONFIG)
    (root / "deadly.py").write_text(ATTACK)
    return root


@pytest.fixture(scope="module")
def whole(tmp_path_factory, run_sear, fresh_workspace):
    """(workspace, result) of the evaluation in one."""
    root = checkout(fresh_workspace(tmp_path_factory.mktemp("whole") / "checkout"))
    called = run_sear(root, *ARGUMENTS)
    assert called.code == 0, called.err[-4000:]
    return root, called.json


def outputs(root: Path, stage: str) -> dict[str, bytes]:
    """All that a stage has left in the store, its keys among the names."""
    folder = root / ".sear" / "store" / stage
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {str(name): path.read_bytes() for name, path in found.items() if path.name != "entry.json"}


def rows(root: Path, *sets: str, start: str | None = None) -> dict[str, tuple[bool, str]]:
    config = load_config(file=root / "small.toml", sets=list(sets))
    found = plan(config, Workspace(root), start, "evaluation.sft")["stages"]
    return {row["name"]: (row["cached"], row["reason"]) for row in found}


def test_a_killed_shard_is_tried_again_alone_and_the_evaluation_is_that_of_one_process(
    whole, tmp_path, run_sear, fresh_workspace, monkeypatch
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.syspath_prepend(whole[0])
    root = checkout(fresh_workspace(tmp_path / "checkout"))
    shutil.copytree(whole[0] / "data", root / "data")
    shutil.copytree(
        whole[0] / ".sear" / "store", root / ".sear" / "store", ignore=lambda *_: ["evaluation.sft"]
    )
    (root / "let").touch()
    called = run_sear(root, *ARGUMENTS, "--set", "evaluation.shards=2")
    assert called.code == 0, called.err[-4000:]

    assert called.json["arms"] == whole[1]["arms"]
    assert outputs(root, "evaluation.sft") == outputs(whole[0], "evaluation.sft")
    ran = [stage["name"] for stage in called.json["stages"] if not stage["cached"]]
    assert ran == ["version", *SHARDS, "evaluation.sft"]  # the sources lie in another folder
    client = MlflowClient(f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")
    runs = [run for run in client.search_runs(["1"]) if "sear.stage" in run.data.tags]
    retries = {run.data.tags["sear.stage"]: run.data.tags.get("sear.retries") for run in runs}
    (killed,) = (name for name, number in retries.items() if number)
    assert killed in SHARDS[2:] and retries[killed] == "1" and len(retries) == len(runs)
    assert f"stage {killed}: its process ended" in called.err and "try 2 of 2" in called.err
    # it went on from its last batch: what the lost try had written was not written again
    (chunks,) = (root / ".sear" / "store" / killed).glob("*/out/chunks")
    died = (root / "died").stat().st_ctime
    made = {
        folder.name: [path.stat().st_mtime <= died for path in folder.iterdir()]
        for folder in chunks.iterdir()
    }
    assert all(made["benign_hijack"] + made["answer_prefill"]) and not any(made["deadly"])

    # one evaluation, under one key: neither way computes anything that the other has left
    assert rows(root)["evaluation.sft"] == (True, "unchanged")
    there = {name: (True, "evaluation.sft is there") for name in SHARDS}
    found = rows(whole[0], "evaluation.shards=2")
    assert {name: found[name] for name in SHARDS} == there and found["evaluation.sft"] == (True, "unchanged")
    again = run_sear(whole[0], *ARGUMENTS, "--set", "evaluation.shards=2")
    assert again.code == 0, again.err[-4000:]
    assert [stage["name"] for stage in again.json["stages"] if not stage["cached"]] == []
    assert again.json["arms"] == whole[1]["arms"]
    forced = rows(whole[0], "evaluation.shards=2", start="evaluation")
    assert {name for name, (cached, _) in forced.items() if not cached} == {*SHARDS, "evaluation.sft"}


def test_the_number_of_shards_is_no_part_of_the_config_that_shapes_results():
    one, three = load_config("smoke"), load_config("smoke", sets=["evaluation.shards=3"])
    assert one.sha256 == three.sha256 and one.shaping() == three.shaping()
    single, several = (selection(config, "sqlite:///", None, None, False).dag for config in (one, three))
    assert not any(stage.shard_of for stage in single)
    assert len(several) == len(single) + 3 * 2 * 3  # arms × phases × shards
    sections = {stage.name: stage.section for stage in several if not stage.shard_of}
    assert sections == {stage.name: stage.section for stage in single}


def test_an_evaluation_of_any_model_has_shards_and_judging_anew_none(tmp_path):
    settings = load_config(
        "demo", sets=["evaluation.shards=2", "evaluation.attacks=[]", "evaluation.reasoning_use=false"]
    )
    model = {"label": "owner/name", "path": "owner/name", "dtype": "float32"}
    dag, names = evaluate.plan(settings, "sqlite:///", model, {})
    # without attacks there is one phase
    shards = ["generation.owner_name.none.1", "generation.owner_name.none.2"]
    assert [stage.name for stage in dag] == ["version", "prepare", *shards, "evaluation.owner_name"]
    assert names == ["evaluation.owner_name"]
    dag, names = evaluate.plan(settings, "sqlite:///", None, {"sear": str(tmp_path)})
    assert [stage.name for stage in dag] == names == ["evaluation.sear"]


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "257", "true", "two"])
def test_impossible_numbers_of_shards_die_at_parse(value):
    with pytest.raises(InputError, match=r"evaluation\.shards: "):
        load_config("smoke", sets=[f"evaluation.shards={value}"])
