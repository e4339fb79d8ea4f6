"""A heavy stage in a child process, forked or under `accelerate launch`: its result, its faults, its end."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from sear_core.errors import InputError
from tasks import worker
from tasks.config import StageLimits
from tasks.handles import Handle
from tasks.launch import launch, warm_up
from tasks.stage import Job, Stage, StageFailed, Transient
from tasks.tracking import Stopped

TOY = """
import errno, os, sys, time
from pathlib import Path
from sear_core.errors import InputError
from tasks.stage import StageFailed

def compute(job):
    print("talk on standard output")
    (job.out / "pid").write_text(str(os.getpid()))
    (job.out / "precision").write_text(os.environ.get("ACCELERATE_MIXED_PRECISION", ""))
    how = job.section["how"]
    if how == "input":
        raise InputError("row 3: wrong")
    if how == "gate":
        raise StageFailed("accuracy is 0.400, below 0.7")
    if how == "bug":
        raise KeyError("category")
    if how == "bug in the second":
        if os.environ["RANK"] == "1":
            raise KeyError("category")
        time.sleep(600)  # the first waits for it, as in an all-reduce
    if how == "dies":
        os._exit(3)
    if how == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "weights")
    if how == "spawns":  # in a session of its own, as torch's elastic launcher does
        import subprocess
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        (job.out / "grandchild").write_text(str(child.pid))
    if how in ("hangs", "spawns"):
        time.sleep(600)
    Path(job.out / "made").write_text(job.inputs["prepare"].md5)
    return {"metrics": {"answer": 42.0}, "name": job.name + job.arm}
"""


@pytest.fixture(scope="module", autouse=True)
def fork_server():
    """One that has imported what the toy needs, so that a child starts at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(worker, "PRELOAD", ["tasks.worker", "mlflow"])
        warm_up(SimpleNamespace(launcher="process", threads=1))


@pytest.fixture
def start(tmp_path: Path, monkeypatch):
    """Launch the toy stage; returns launch's result."""
    (tmp_path / "toy_heavy_stage.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])]))

    def started(
        launcher: str, how: str, cancelled: threading.Event | None = None, minutes: float | None = None
    ) -> dict:
        stage = Stage("toy", "toy_heavy_stage", Handle, {"how": how}, heavy=True)
        (tmp_path / "out").mkdir()
        job = Job(
            "toy",
            "-arm",
            stage.section,
            {"prepare": Handle(path="/p", md5="abc")},
            tmp_path / "out",
            tmp_path,
        )
        context = SimpleNamespace(
            launcher=launcher, threads=1, cancelled=cancelled or threading.Event(),
            tracker=SimpleNamespace(uri="sqlite:///none"), why_cancelled="another stage failed",
            limit=lambda name: StageLimits(timeout_minutes=minutes),
        )  # fmt: skip
        return launch(stage, job, context)

    return started


@pytest.mark.parametrize("launcher", ["process", "accelerate"])
def test_a_child_process_gives_back_what_the_stage_returned(start, launcher, tmp_path, capfd):
    result = start(launcher, "works")
    assert (result["metrics"], result["name"]) == ({"answer": 42.0}, "toy-arm")
    assert (tmp_path / "out" / "made").read_text() == "abc"
    assert int((tmp_path / "out" / "pid").read_text()) != os.getpid()
    assert capfd.readouterr().out == ""  # standard output belongs to the command
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".json") == []


def test_the_config_file_of_accelerate_is_used_and_a_missing_one_is_named(start, tmp_path, monkeypatch):
    file = tmp_path / "own.yaml"
    file.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: 'NO'\nmixed_precision: bf16\n"
        "num_machines: 1\nnum_processes: 1\nuse_cpu: true\n"
    )
    monkeypatch.setenv("ACCELERATE_CONFIG_FILE", str(file))
    assert start("accelerate", "works")["metrics"] == {"answer": 42.0}
    assert (tmp_path / "out" / "precision").read_text() == "bf16"
    monkeypatch.setenv("ACCELERATE_CONFIG_FILE", str(tmp_path / "nowhere.yaml"))
    with pytest.raises(InputError, match=r"ACCELERATE_CONFIG_FILE: .*nowhere\.yaml: no such file"):
        warm_up(SimpleNamespace(launcher="accelerate", threads=1))


@pytest.mark.parametrize(("name", "processes"), [("several_gpus", 8), ("fsdp", 8), ("deepspeed", 8)])
def test_the_shipped_configs_are_accelerates_own(name, processes):
    from accelerate.commands.config.config_args import load_config_from_file

    file = Path(__file__).parents[2] / "flows" / "presets" / "accelerate" / f"{name}.yaml"
    found = load_config_from_file(str(file))  # an unknown key is an error
    assert (found.num_processes, found.use_cpu, found.mixed_precision) == (processes, False, "bf16")


@pytest.mark.parametrize(
    ("how", "error", "told"),
    [
        ("input", InputError, "row 3: wrong"),
        ("gate", StageFailed, "accuracy is 0.400, below 0.7"),
        ("full", OSError, "[Errno 28] No space left on device: 'weights'"),
        ("bug", Transient, "stage toy: KeyError: 'category'"),
        ("dies", Transient, "stage toy: its process ended with exit code 3 and no result"),
    ],
)
def test_a_childs_fault_is_the_stages_fault(start, how, error, told):
    with pytest.raises(error) as raised:
        start("process", how)
    assert str(raised.value) == told


def test_an_exception_reads_alike_in_this_process(start):
    with pytest.raises(RuntimeError) as raised:
        start("inprocess", "bug")
    assert str(raised.value) == "stage toy: KeyError: 'category'"
    assert isinstance(raised.value.__cause__, KeyError)  # with its traceback
    assert not isinstance(raised.value, StageFailed)  # that is, another try would meet the same


@pytest.mark.parametrize(("how", "error"), [("input", InputError), ("gate", StageFailed), ("full", OSError)])
def test_what_is_foreseen_is_raised_as_it_is_in_this_process(start, how, error):
    with pytest.raises(error) as raised:
        start("inprocess", how)
    assert "stage toy" not in str(raised.value)


def test_one_process_of_several_that_fails_ends_the_others_and_says_why(start, tmp_path, monkeypatch, capfd):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    file = tmp_path / "two.yaml"
    file.write_text(  # several processes are started as for GPUs, which the toy does not use
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nmixed_precision: 'no'\n"
        f"num_machines: 1\nnum_processes: 2\nuse_cpu: false\nmain_process_port: {port}\n"
    )
    monkeypatch.setenv("ACCELERATE_CONFIG_FILE", str(file))
    with pytest.raises(Transient) as raised:
        start("accelerate", "bug in the second")
    assert str(raised.value) == "stage toy: KeyError: 'category'"
    assert 'raise KeyError("category")' in capfd.readouterr().err  # the traceback


def test_of_several_processes_the_first_that_fails_says_why(tmp_path, monkeypatch):
    (tmp_path / "toy_heavy_stage.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("WORLD_SIZE", "2")
    (tmp_path / "out").mkdir()
    result = tmp_path / "result.json"
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit) as first:
        worker.run_job(str(write_job(tmp_path, "input")), str(result))
    assert first.value.code == 1  # the launcher ends the others, which may wait for it
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(KeyError):
        worker.run_job(str(write_job(tmp_path, "bug")), str(result))
    assert json.loads(result.read_text()) == {"input_error": "row 3: wrong"}
    worker._first(result, {"metrics": {}})  # one that succeeds after all does not hide it, either
    assert json.loads(result.read_text()) == {"input_error": "row 3: wrong"}
    assert {path.name for path in tmp_path.glob("result.json*")} == {"result.json"}


def test_where_there_are_no_hard_links_the_result_is_written_all_the_same(tmp_path, monkeypatch):
    def link(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    for number in (1, 2):
        worker._first(tmp_path / "result.json", {"number": number})
    assert json.loads((tmp_path / "result.json").read_text()) == {"number": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_what_is_told_of_an_exception_holds_no_password_and_is_short():
    told = worker.described(ValueError("postgresql://me:hid@hidden@host/db " + "x" * 9000))
    assert "hidden" not in told and told.startswith("ValueError: postgresql://host/db") and len(told) == 2000
    assert worker.foreseen(InputError("s3://key:hidden@bucket")) == {"input_error": "s3://bucket"}


def test_a_stage_is_stopped_when_another_has_failed(start, tmp_path):
    cancelled = threading.Event()

    def cancel():
        while not (tmp_path / "out" / "pid").is_file():
            time.sleep(0.05)
        cancelled.set()

    threading.Thread(target=cancel, daemon=True).start()
    with pytest.raises(Stopped, match="stopped, because another stage failed"):
        start("process", "hangs", cancelled)
    pid = int((tmp_path / "out" / "pid").read_text())
    deadline = time.monotonic() + 5
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(pid)


def test_a_stage_over_its_time_out_is_stopped_with_all_that_it_started(start, tmp_path):
    with pytest.raises(Transient, match=r"over its time-out of 0\.1 minutes, and stopped"):
        start("inprocess", "spawns", minutes=0.1)
    pids = [int((tmp_path / "out" / name).read_text()) for name in ("pid", "grandchild")]
    _until(lambda: not any(map(_alive, pids)), 5)
    assert not any(map(_alive, pids)) and os.getpid() not in pids


PARENT = """
import multiprocessing, sys, time
from tasks.worker import in_own_group

if __name__ == "__main__":
    multiprocessing.get_context("forkserver").Process(target=in_own_group, args=sys.argv[1:3]).start()
    time.sleep(600)
"""


def write_job(folder: Path, how: str) -> Path:
    job = {
        "module": "toy_heavy_stage", "compute": "compute", "name": "toy", "arm": "", "section": {"how": how},
        "key": "", "resumed": 0,
        "out": str(folder / "out"), "root": str(folder), "threads": None, "inputs": {}, "run_id": None,
        "tracking_uri": "sqlite:///none",
    }  # fmt: skip
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return path


def test_a_child_ends_with_a_parent_that_was_killed(tmp_path):
    (tmp_path / "toy_heavy_stage.py").write_text(TOY)
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "out").mkdir()
    job = write_job(tmp_path, "hangs")
    places = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "parent.py", job, tmp_path / "result.json"],
        env=os.environ | {"PYTHONPATH": places},
    )
    try:
        _until(lambda: (tmp_path / "out" / "pid").is_file() and (tmp_path / "out" / "pid").read_text(), 60)
    finally:
        parent.kill()
        parent.wait()
    pid = int((tmp_path / "out" / "pid").read_text())
    _until(lambda: not _alive(pid), 10)
    assert not _alive(pid)


def _until(holds, seconds):
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
