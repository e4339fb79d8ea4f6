"""`sear doctor`: each fault planted, and named with its cure."""

import http.server
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flows import doctor, services
from tasks.workspace import Workspace


@pytest.fixture
def server():
    """A server that says it is well under /health, and knows nothing else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path.endswith("/health") else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    found.server_close()


def test_a_missing_pin_file_warns_and_another_version_names_both(tmp_path):
    pins = tmp_path / "constraints.txt"
    assert doctor.libraries(pins).status == "warn"
    pins.write_text("# a comment\npydantic==0.0.1\ntorch==" + doctor._version("torch").split("+")[0] + "\n")
    check = doctor.libraries(pins)
    assert check.status == "warn" and "tested with 0.0.1" in check.detail and "torch" not in check.detail
    pins.write_text("pydantic==" + doctor._version("pydantic"))
    assert doctor.libraries(pins).status == "ok"


def test_a_library_that_is_missing_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "NEEDED", ("torch", "no-such-library-here"))
    check = doctor.libraries(tmp_path / "constraints.txt")
    assert (check.status, check.mend) == (
        "fail",
        "run `make setup`",
    ) and "no-such-library-here" in check.detail


def test_servers_are_asked_and_a_silent_one_fails(server, tmp_path):
    assert services.prefect(f"{server}/api", tmp_path).status == "ok"
    assert services.mlflow_store(server).status == "ok"
    for check in (
        services.prefect("http://127.0.0.1:9/api", tmp_path),
        services.mlflow_store("http://127.0.0.1:9"),
    ):
        assert check.status == "fail" and "no answer" in check.detail and "unset" in check.mend
    assert services.prefect("", tmp_path).status == "ok"  # the ephemeral one


def test_passwords_in_urls_are_not_shown():
    assert services.mlflow_store("postgresql://user:secret@db/mlflow").detail.startswith(
        "postgresql://db/mlflow"
    )


def test_the_sqlite_store_is_checked_by_its_schema(tmp_path):
    path = tmp_path / "mlflow.db"
    uri = f"sqlite:///{path}"
    assert services.mlflow_store(uri).status == "ok" and not path.exists()  # looking makes nothing
    path.write_text("this is no database at all, whatever its name says" * 20)
    assert services.mlflow_store(uri).status == "fail"
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("create table alembic_version (version_num text)")
        database.execute("create table runs (id text)")
        database.execute("insert into alembic_version values ('000000000000')")
    check = services.mlflow_store(uri)
    assert check.status == "fail" and "mlflow db upgrade" in check.mend
    with sqlite3.connect(path) as database:
        database.execute("update alembic_version set version_num = ?", (services.schema_head(),))
    assert services.mlflow_store(uri).status == "ok"


@pytest.mark.parametrize("uri", ["nonsense://x", "/srv/mlruns", "file:///srv/mlruns"])
def test_what_is_no_store_of_mlflow_fails(uri):
    check = services.mlflow_store(uri)
    assert check.status == "fail" and check.detail.startswith(uri)


def test_a_store_that_cannot_be_made_fails_and_nothing_is_left(tmp_path):
    (tmp_path / "file").write_text("")
    check = services.mlflow_store(f"sqlite:///{tmp_path}/file/mlflow.db")
    assert check.status == "fail" and f"{tmp_path}/file/mlflow.db: cannot be made" in check.detail
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_store_whose_writer_was_killed_is_taken_up(tmp_path):
    """A killed writer leaves its journal; only a connection that may write can roll it back."""
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as database:
        database.execute("create table alembic_version (version_num text)")
        database.execute("create table runs (id text)")
        database.execute("insert into alembic_version values (?)", (services.schema_head(),))
    writer = f"""
import os, signal, sqlite3
database = sqlite3.connect({str(path)!r}, isolation_level=None)
database.execute("pragma cache_size = 1")
database.execute("begin immediate")
database.executemany("insert into runs values (?)", (("x" * 1000,) for _ in range(500)))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", writer], check=False)
    assert Path(f"{path}-journal").stat().st_size > 0
    check = services.mlflow_store(f"sqlite:///{path}")
    assert (check.status, check.detail) == ("ok", f"{path}, 0 runs")


def test_the_schema_read_off_the_migrations_is_the_one_that_mlflow_makes(tmp_path):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    MlflowClient(uri).search_experiments()
    assert services.mlflow_store(uri).status == "ok"


def test_data_that_differs_from_its_pointer_fails_with_both_ways_out(tmp_path):
    from tasks.dvc_adapter import directory_version

    assert services.dvc(tmp_path)[0].status == "fail"  # no data.dvc
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.jsonl").write_text("{}\n")
    md5 = directory_version(data)
    (tmp_path / "data.dvc").write_text(
        f"outs:\n- md5: {md5}\n  size: 3\n  nfiles: 1\n  hash: md5\n  path: data\n"
    )
    version, remote = services.dvc(tmp_path)
    assert version.status == "ok" and remote.mend == "run `dvc init`"
    (data / "a.jsonl").write_text("{ }\n")
    check = services.dvc(tmp_path)[0]
    assert check.status == "fail" and "dvc add data" in check.mend and "dvc checkout" in check.mend


def test_remotes_are_read_from_dvcs_own_files(tmp_path):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(
        "[core]\n    remote = team\n['remote \"team\"']\n    url = s3://bucket/x\n"
    )
    assert services._remote(tmp_path / ".dvc").detail == "team → s3://bucket/x; default team"
    (tmp_path / ".dvc" / "config").write_text("['remote \"team\"']\n    url = s3://bucket/x\n")
    assert services._remote(tmp_path / ".dvc").status == "warn"


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "NamedTemporaryFile", refuse)
    check = doctor.writable(Workspace(tmp_path))
    assert check.status == "fail" and str(tmp_path) in check.detail


def test_a_check_that_breaks_does_not_hide_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "device", lambda: 1 / 0)
    checks = doctor.check_all(Workspace(tmp_path))
    broken = [check for check in checks if "ZeroDivisionError" in check.detail]
    assert len(broken) == 1 and broken[0].status == "fail" and len(checks) > 8
    assert doctor.as_dict(checks)["ok"] is False


def test_the_table_names_every_check_and_its_cure(capsys):
    doctor.print_checks([doctor.Check("a", "ok", "well [x]"), doctor.Check("b", "fail", "ill", "mend it")])
    printed = capsys.readouterr()
    assert (
        printed.out == "" and "well [x]" in printed.err and "FAIL" in printed.err and "mend it" in printed.err
    )
