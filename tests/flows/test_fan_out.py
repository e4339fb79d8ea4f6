"""A study whose heavy stages run on a local Dask cluster, and on local Ray: the table of one process.

There its evaluations are in two shards each, and keep their keys.
On both a worker is killed in the middle, so each also shows what that costs: its stage's retry, nothing else.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from flows import fan_out
from flows.config import load_config
from sear_core.errors import InputError
from tasks.workspace import Workspace

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = """
extends = "smoke"
[validation.min_rows]
rl_prompts = 9
warm_start = 9
step_labels = 9
answer_labels = 9
preferences = 9
evaluation = 9
[warm_start.model.tiny]
vocab_size = 400
[reward_model.model.tiny]
vocab_size = 400
[policy]
updates = 2
save_every = 1
num_iterations = 1
prompts_per_update = 4
group_size = 2
max_completion_length = 10
[evaluation]
limit = 3
batch_size = 4
max_new_tokens = 10
attacks = ["benign_hijack"]
reasoning_use = false
[study]
seeds = 1
[study.arms]
grpo = 1
sear = 1
"""
SOURCE = """
[[data.sources]]
name = "{name}"
path = "{path}"
role = "{role}"
columns = {{ split = "split" }}
limit = 150
"""
LIGHT = ("prepare", "validate")


def table(result: dict) -> dict:
    """All that a study says about its members, but not how long each took, nor its run."""
    members = [{key: m[key] for key in ("name", "status", "metrics")} for m in result["members"]]
    return {"members": members, **{key: result[key] for key in ("arms", "differences", "collapsed")}}


def write_config(root: Path) -> None:
    few = [SOURCE.format(**source.model_dump()) for source in load_config("smoke").data.sources]
    (root / "study.toml").write_text(CONFIG + "".join(few))


def stages(root: Path) -> list[tuple[str, str, str | None, int]]:
    """(stage, status, retries, process) of every MLflow run of a stage; [] while there is no store yet."""
    tag = "(select value from tags where run_uuid = runs.run_uuid and key = '{}')".format
    query = f"select {tag('sear.stage')}, status, {tag('sear.retries')}, {tag('sear.pid')} from runs"
    try:
        database = sqlite3.connect(f"file:{root / 'mlruns' / 'mlflow.db'}?mode=ro", uri=True)
        rows = database.execute(query).fetchall()
    except sqlite3.Error:
        return []
    return [(name or "", status, retries, int(pid.partition("-")[0])) for name, status, retries, pid in rows]


def heavy_keys(root: Path) -> set[str]:
    store = root / ".sear" / "store"
    found = {path.parent.relative_to(store).as_posix() for path in store.glob("*/*/entry.json")}
    return {
        key for key in found if key.startswith(("warm_start/", "reward_model/", "policy.", "evaluation."))
    }


@pytest.fixture(scope="module")
def here(tmp_path_factory, run_sear, fresh_workspace):
    """The study in one process, one thread; (workspace, result)."""
    root = fresh_workspace(tmp_path_factory.mktemp("here") / "checkout")
    write_config(root)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    called = run_sear(
        root, "study", "--config", "study.toml", "--workers", "1", "--set", "launcher=inprocess", "--json"
    )
    os.environ.pop("OMP_NUM_THREADS") if before is None else os.environ.update(OMP_NUM_THREADS=before)
    assert called.code == 0, called.err[-4000:]
    return root, called.json


def needs(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        find_spec(f"prefect_{kind}") is None, reason=f"the extra `{kind}` is not installed"
    )


@pytest.mark.parametrize(
    "kind", [pytest.param("dask", marks=needs("dask")), pytest.param("ray", marks=needs("ray"))]
)
def test_a_worker_killed_in_the_middle_costs_its_stage_a_retry_and_the_table_is_that_of_one_process(
    kind, here, tmp_path, fresh_workspace
):
    root = fresh_workspace(tmp_path / "checkout")
    write_config(root)
    for name in LIGHT:  # data is prepared once: it is not what this is about
        shutil.copytree(here[0] / ".sear" / "store" / name, root / ".sear" / "store" / name)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "PREFECT_", "RAY_"))}
    arguments = ["--workers", "2", "--set", f"runner.kind={kind}", "--set", "runner.threads=1", "--json"]
    arguments += ["--set", "evaluation.shards=2"]
    call = [sys.executable, "-m", "flows", "study", "--config", "study.toml", *arguments]
    with (root / "out.json").open("w") as out, (root / "err.txt").open("w") as err:
        called = subprocess.Popen(
            call, cwd=root, stdout=out, stderr=err, env=environment | {"PYTHONPATH": str(REPOSITORY)}
        )
    killed = 0
    try:
        while called.poll() is None and not killed:
            time.sleep(0.05)
            begun = list((root / ".sear" / "store" / "policy.sear").glob("*.partial/job.json"))
            workers = [pid for name, _, _, pid in stages(root) if name == "policy.sear"]
            if begun and workers:
                killed = workers[0]
                assert killed != called.pid, "the stage ran in the asker's process"
                os.kill(killed, signal.SIGKILL)
        assert called.wait(timeout=500) == 0, (root / "err.txt").read_text()[-4000:]
    finally:
        if called.poll() is None:
            called.terminate()
            called.wait(timeout=60)
    assert killed

    assert table(json.loads((root / "out.json").read_text())) == table(here[1])
    assert heavy_keys(root) == heavy_keys(here[0])  # and nothing of it is in a cache key
    runs = stages(root)
    assert {status for _, status, _, _ in runs} == {"FINISHED"}
    assert {name: retries for name, _, retries, _ in runs if retries} == {"policy.sear": "1"}
    names = [name for name, _, _, _ in runs if name]
    assert len(names) == len(set(names))  # the try that was lost and the one that followed are one run
    store = root / ".sear" / "store"
    assert not [*store.glob("*/*.partial"), *store.glob("*/*.old-*"), *(root / ".sear" / "fan-out").iterdir()]
    told = (root / "err.txt").read_text()
    assert "policy.sear (sear, seed 0): its worker was lost; it begins again" in told
    assert told.count("begins again") == 1 and "evaluation.sear (sear, seed 0): done" in told


def test_a_missing_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(fan_out, "find_spec", lambda name: None)
    config = load_config("smoke", sets=["launcher=process", "runner.kind=dask"])
    with pytest.raises(InputError, match=r"needs the extra `dask`: pip install -e '.\[dask\]'"):
        fan_out.task_runner(config, Workspace(tmp_path))


@needs("dask")
@pytest.mark.parametrize(
    ("address", "expected"),
    [("tcp://127.0.0.1:9", "no dask cluster answers there"), ("nowhere", "expected such as tcp://HOST:8786")],
)
def test_a_cluster_that_does_not_answer_is_told_at_once(address, expected, tmp_path):
    config = load_config("smoke", sets=["launcher=process", "runner.kind=dask", f"runner.address={address}"])
    with pytest.raises(InputError, match=expected):
        fan_out.task_runner(config, Workspace(tmp_path))


def test_the_runner_is_no_part_of_the_config_that_shapes_results():
    threads = load_config("smoke", sets=["launcher=process"])
    dask = load_config("smoke", sets=["launcher=process", "runner.kind=dask", "workers=2", "runner.gpus=1"])
    assert dask.sha256 == threads.sha256


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        (
            ["runner.kind=dask", "launcher=inprocess", "workers=1"],
            'runner.kind = "dask" needs launcher = "process"',
        ),
        (["runner.address=tcp://host:8786"], 'address and gpus are for kind = "dask" or "ray"'),
        (["runner.knd=dask"], "did you mean 'kind'?"),
    ],
)
def test_impossible_runners_die_at_parse(sets, expected):
    with pytest.raises(InputError) as error:
        load_config("smoke", sets=sets)
    assert expected in str(error.value)
