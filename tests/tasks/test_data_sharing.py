"""Data versions between checkouts: a folder and an S3 server as remotes, with git and without, side by side."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from sear_core.data.corpus import expected_hashes
from sear_core.errors import InputError
from tasks import data_sharing, dvc_adapter, sources_in_place

OWN = "own/größe.csv"


def _run(cwd: Path, *command: str) -> str:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    return subprocess.run(
        command, cwd=cwd, check=True, capture_output=True, text=True, env=environment
    ).stdout


def _project(root: Path) -> Path:
    """A team's project without git, recorded: a table of its own beside some embedded corpus."""
    (root / "data" / "embedded").mkdir(parents=True)
    for name in ("prompts", "steps"):
        (root / "data" / "embedded" / f"{name}.jsonl").write_text(f'{{"prompt": "{name}"}}\n')
    (root / "data" / "own").mkdir()
    (root / "data" / OWN).write_text("prompt\nhow are you\n")
    dvc_adapter.add(root)
    return root


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = _project(tmp_path_factory.mktemp("project"))
    remote = tmp_path_factory.mktemp("remote")
    _run(root, sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "team", str(remote))
    data_sharing.push(root)
    return root


def _clone(project: Path, target: Path) -> Path:
    """Another machine's checkout: data.dvc and DVC's configuration alone."""
    (target / ".dvc").mkdir(parents=True)
    shutil.copy(project / "data.dvc", target)
    for name in ("config", "config.local"):
        if (project / ".dvc" / name).is_file():
            shutil.copy(project / ".dvc" / name, target / ".dvc" / name)
    return target


def test_what_is_pushed_is_pulled_elsewhere_to_the_byte_without_git(project: Path, tmp_path: Path) -> None:
    assert not (project / ".git").exists()
    clone = _clone(project, tmp_path / "clone")
    before = data_sharing.status(clone)
    assert (before["data"], before["cached"], before["changes"]) == ("absent", False, None)
    assert before["remote"]["name"] == "team" and before["remote"]["has"] is None  # which files, is not known
    done = data_sharing.pull(clone)
    assert done["changed"] and done["files"] == 3
    assert (clone / "data" / OWN).read_text() == "prompt\nhow are you\n"
    assert dvc_adapter.matches(clone / "data.dvc", clone / "data")
    after = data_sharing.status(clone)
    assert (after["data"], after["cached"], after["remote"]["has"]) == ("same", True, True)
    assert not data_sharing.pull(clone)["changed"]


def test_a_run_pulls_a_missing_copy(project: Path, tmp_path: Path) -> None:
    clone = _clone(project, tmp_path / "clone")
    assert "absent; a run rebuilds or pulls it" in sources_in_place.missing_sources(clone)
    sources_in_place.ensure_sources(clone)
    assert sources_in_place.missing_sources(clone) == ""
    assert dvc_adapter.matches(clone / "data.dvc", clone / "data")


def test_own_changes_are_named_and_only_given_up_by_force(project: Path, tmp_path: Path) -> None:
    clone = _clone(project, tmp_path / "clone")
    shutil.copytree(project / "data", clone / "data")
    (clone / "data" / OWN).write_text("prompt\nmine\n")
    (clone / "data" / "own" / "new.csv").write_text("prompt\nmine too\n")
    (clone / "data" / "embedded" / "steps.jsonl").unlink()
    with pytest.raises(InputError, match=rf"{OWN}, own/new\.csv: not as in data\.dvc"):
        data_sharing.pull(clone)
    assert (clone / "data" / OWN).read_text() == "prompt\nmine\n"
    with pytest.raises(InputError, match=r"differs from data\.dvc"):
        data_sharing.push(clone)
    state = data_sharing.status(clone, ask_remote=False)
    assert state["data"] == "different" and state["remote"]["has"] is None
    assert state["changes"] == {
        "added": ["own/new.csv"], "removed": ["embedded/steps.jsonl"], "modified": [OWN],
    }  # fmt: skip
    data_sharing.pull(clone, force=True)
    assert dvc_adapter.matches(clone / "data.dvc", clone / "data")


def test_a_remote_that_is_not_there_is_named_without_its_password(project: Path, tmp_path: Path) -> None:
    clone = _clone(project, tmp_path / "clone")
    shutil.copytree(project / ".dvc" / "cache", clone / ".dvc" / "cache")
    with pytest.raises(InputError, match=r"--remote 'tame': no such DVC remote; there are: team"):
        data_sharing.push(clone, "tame")
    (clone / ".dvc" / "config").write_text(
        "[core]\nno_scm = True\n['remote \"web\"']\nurl = http://me:secret@127.0.0.1:9/x\n"
    )
    state = data_sharing.status(clone)["remote"]
    assert state["has"] is not True and "secret" not in str(state) and state["url"] == "http://127.0.0.1:9/x"
    with pytest.raises(InputError, match=r"`dvc push .*` failed: .*127\.0\.0\.1") as told:
        data_sharing.push(clone)
    assert "secret" not in str(told.value)
    shutil.rmtree(clone / ".dvc" / "cache")
    (clone / ".dvc" / "config").write_text("[core]\nno_scm = True\n")
    with pytest.raises(InputError, match="no DVC remote is configured"):
        data_sharing.push(clone)
    with pytest.raises(InputError, match=r"missing .*Expected a DVC remote that has them"):
        data_sharing.pull(clone)
    assert not (clone / "data").exists()


def test_an_earlier_embedded_corpus_is_pulled_since_it_cannot_be_rebuilt(tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "data" / "embedded").mkdir(parents=True)
    for number in range(len(expected_hashes())):  # as many files as this code writes, with other bytes
        (root / "data" / "embedded" / f"{number}.jsonl").write_text(f'{{"prompt": "{number}"}}\n')
    dvc_adapter.add(root)
    _run(root, sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "team", str(tmp_path / "remote"))
    data_sharing.push(root)
    clone = _clone(root, tmp_path / "clone")
    sources_in_place.ensure_sources(clone)
    assert dvc_adapter.matches(clone / "data.dvc", clone / "data")


def test_a_second_process_waits_for_the_lock_and_says_so(project: Path, tmp_path: Path) -> None:
    clone = _clone(project, tmp_path / "clone")
    (clone / ".sear").mkdir()
    code = (
        "import sys; from pathlib import Path; from tasks.data_sharing import pull; "
        "print(pull(Path(sys.argv[1]))['changed'])"
    )
    with FileLock(clone / ".sear" / "data.lock"):
        second = subprocess.Popen(
            [sys.executable, "-c", code, str(clone)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert second.stderr is not None
        assert "waiting for another process that works on" in second.stderr.readline()
        assert not (clone / "data").exists()
    out, _ = second.communicate(timeout=120)
    assert out.strip() == "True" and dvc_adapter.matches(clone / "data.dvc", clone / "data")


def test_a_run_waits_for_a_command_that_is_changing_data(project: Path, tmp_path: Path) -> None:
    clone = _clone(project, tmp_path / "clone")
    shutil.copytree(project / "data", clone / "data")
    own, whole = clone / "data" / OWN, (project / "data" / OWN).read_text()
    own.write_text("half")
    (clone / ".sear").mkdir()
    code = (
        "import sys, time; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]):\n"
        " print('held', flush=True); time.sleep(1.5); open(sys.argv[2], 'w').write(sys.argv[3])"
    )
    arguments = [str(clone / ".sear" / "data.lock"), str(own), whole]
    other = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    sources_in_place.ensure_sources(clone)  # raises where it does not wait
    assert other.wait(timeout=60) == 0 and own.read_text() == whole


def test_two_pulls_at_once_both_end_well(project: Path, tmp_path: Path) -> None:
    clone = _clone(project, tmp_path / "clone")
    code = (
        "import sys; from pathlib import Path; from tasks.data_sharing import pull; pull(Path(sys.argv[1]))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(clone)]) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert dvc_adapter.matches(clone / "data.dvc", clone / "data")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An S3 server of this machine's own; its address."""
    pytest.importorskip("moto", reason="the dev extra's moto[s3] is not installed")
    pytest.importorskip("dvc_s3", reason="the extra s3 is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("w") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=file, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=20)


def test_what_is_pushed_to_s3_is_pulled_elsewhere_to_the_byte(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import botocore.session

    for name, value in (("ACCESS_KEY_ID", "k"), ("SECRET_ACCESS_KEY", "s"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    botocore.session.get_session().create_client("s3", endpoint_url=s3).create_bucket(Bucket="team")
    root = tmp_path / "project"
    (root / "data" / "own").mkdir(parents=True)
    (root / "data" / OWN).write_text("prompt\nhow are you\n")
    (root / "data" / "own" / "b.jsonl").write_text('{"prompt": "b"}\n')
    dvc_adapter.add(root)
    for command in (("add", "-d", "cloud", "s3://team/data"), ("modify", "cloud", "endpointurl", s3)):
        _run(root, sys.executable, "-m", "dvc", "remote", command[0], "-q", *command[1:])
    assert data_sharing.status(root)["remote"]["has"] is False
    assert data_sharing.push(root)["files"] == 2
    assert data_sharing.status(root)["remote"]["has"] is True
    clone = _clone(root, tmp_path / "clone")
    assert data_sharing.pull(clone)["changed"]
    assert dvc_adapter.directory_version(clone / "data") == dvc_adapter.directory_version(root / "data")
