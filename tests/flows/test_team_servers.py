"""A team's servers by configuration alone: MLflow on real PostgreSQL with artifacts on S3, away, and shared."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from concurrent_runs import runs_at_once
from mlflow import MlflowClient

from flows import servers
from flows.services import mlflow_store
from sear_core.errors import InputError
from tasks import model_registry
from tasks.serving import fetch
from tasks.tracking import Tracker
from tasks.workspace import Workspace

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory):
    """A database URL; skipped where PostgreSQL cannot run here."""
    pytest.importorskip("psycopg2", reason="the driver psycopg2 is not installed")
    if servers.postgres_binaries() is None:
        pytest.skip("PostgreSQL's programs are not on this machine")
    import tempfile

    with tempfile.TemporaryDirectory(prefix="sear-postgres-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL refuses root: another user must reach it
        with servers.postgres_server(Path(folder) / "postgres", ["mlflow", "direct"]) as databases:
            yield databases


@pytest.fixture(scope="module")
def tracking(postgres, tmp_path_factory: pytest.TempPathFactory):
    pytest.importorskip("moto", reason="the dev extra's moto[s3] is not installed")
    folder = tmp_path_factory.mktemp("servers")
    with (
        servers.s3_server(folder) as endpoint,
        servers.mlflow_server(folder, postgres["mlflow"], "s3://mlflow", endpoint) as url,
    ):
        yield url, endpoint


def test_a_store_on_postgresql_is_used_without_a_server_and_its_password_is_not_shown(
    postgres, tmp_path, monkeypatch
):
    uri = postgres["direct"]
    password = uri.split(":")[2].partition("@")[0]
    check = mlflow_store(uri)
    assert check.status == "ok" and password not in check.detail
    wrong = mlflow_store(uri.replace(password, "guessed"))
    assert (
        wrong.status == "fail" and "guessed" not in wrong.detail and "authentication failed" in wrong.detail
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    tracker = Tracker(Workspace(tmp_path), "direct")
    log = tracker.start_parent("run", {})
    log.metrics({"dsr": 0.5})
    tracker.end(log.run_id)
    assert MlflowClient(uri).get_run(log.run_id).data.metrics == {"dsr": 0.5}


def test_runs_curves_artifacts_and_versions_go_to_postgresql_and_s3_and_come_back(
    tracking, tmp_path, monkeypatch
):
    url, endpoint = tracking
    assert mlflow_store(url).status == "ok"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    tracker = Tracker(Workspace(tmp_path), "team")
    parent = tracker.start_parent("run", {"seed": "0"}, call="c")
    with tracker.child("policy", parent, {"sear.key": "k"}) as log:
        for step in (1, 2):
            log.metrics({"loss": 1.0 / step, "weird (name)": step}, step)
        model = tmp_path / "pyfunc" / "artifacts" / "model"
        model.mkdir(parents=True)
        (model / "config.json").write_text("{}")
        (tmp_path / "pyfunc" / "MLmodel").write_text("flavors: {}")
        source = model_registry.link_or_upload(tracker.client, log.run_id, tmp_path / "pyfunc", "model")
        version = model_registry.create(url, "team", source, log.run_id, {"sear.md5": "m"})
        model_registry.set_aliases(url, "team", version, promote=True)
    tracker.end(parent.run_id)
    assert [p.value for p in tracker.client.get_metric_history(log.run_id, "loss")] == [1.0, 0.5]
    found = model_registry.by_alias(url, "team", model_registry.CHAMPION)
    assert found is not None and (found.version, found.md5) == ("1", "m")
    assert (fetch(found.source, "team version 1") / "artifacts" / "model" / "config.json").read_text() == "{}"
    import botocore.session

    for name, value in servers.S3_KEYS.items():
        monkeypatch.setenv(name, value)
    client = botocore.session.get_session().create_client("s3", endpoint_url=endpoint)
    keys = [item["Key"] for item in client.list_objects_v2(Bucket="mlflow")["Contents"]]
    assert any(key.endswith(f"{log.run_id}/artifacts/model/artifacts/model/config.json") for key in keys)


def test_two_processes_that_start_at_once_on_a_new_database_both_log(postgres, tmp_path):
    """Each in a checkout of its own: no file lock is shared."""
    admin = postgres["mlflow"].rpartition("/")[0]
    code = (
        "import sys; from pathlib import Path; from tasks.tracking import Tracker; "
        "from tasks.workspace import Workspace; t = Tracker(Workspace(Path(sys.argv[1])), 'both'); "
        "log = t.start_parent('run', {}); log.metrics({'dsr': 1.0}); t.end(log.run_id)"
    )
    from sqlalchemy import create_engine, text

    with create_engine(f"{admin}/mlflow", isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("create database fresh"))
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"{admin}/fresh", "PYTHONPATH": str(REPOSITORY)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / name)], env=environment, stderr=subprocess.PIPE
        )
        for name in ("a", "b")
    ]
    told = [process.communicate(timeout=300)[1].decode()[-2000:] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    client = MlflowClient(f"{admin}/fresh")
    experiment = client.get_experiment_by_name("both")
    assert experiment is not None and len(client.search_runs([experiment.experiment_id])) == 2


def test_eight_runs_that_log_the_same_data_and_register_at_once_lose_nothing(tracking, tmp_path, monkeypatch):
    """MLflow's store looks for a row and inserts it then: on PostgreSQL the second of two at once is refused."""
    url, _ = tracking
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    tracker = Tracker(Workspace(tmp_path), "crowd")

    def one(number: int) -> str:
        log = tracker.start_parent(f"run-{number}", {})
        log.dataset("sources", "f" * 32 + ".dir", "data", "training")
        version = model_registry.create(
            url, "crowd", f"s3://mlflow/{number}", log.run_id, {"sear.md5": str(number)}
        )
        model_registry.set_aliases(url, "crowd", version, promote=True)
        tracker.end(log.run_id)
        return version

    with ThreadPoolExecutor(8) as pool:
        versions = sorted(pool.map(one, range(8)), key=int)
    assert versions == [str(number) for number in range(1, 9)]
    runs = tracker.client.search_runs([tracker.experiment])
    assert [len(run.inputs.dataset_inputs) for run in runs] == [1] * 8
    champion = model_registry.by_alias(url, "crowd", model_registry.CHAMPION)
    moved = model_registry.moves(model_registry.versions(url, "crowd"))
    assert champion is not None and champion.version in versions and {m.after for m in moved} <= set(versions)


def test_a_server_that_cannot_start_is_told_with_its_own_words_and_a_port_in_use_is_avoided(
    tmp_path, monkeypatch
):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setitem(servers.PORTS, "mlflow", port)
        assert servers.usual_port("mlflow") != port
    assert servers.usual_port("mlflow") == port
    command = [sys.executable, "-c", "raise SystemExit('no such setting')"]
    with (
        pytest.raises(InputError, match="toy did not start: no such setting"),
        servers.server("toy", command, tmp_path / "log", lambda: False),
    ):
        pass


@pytest.mark.slow
def test_two_smoke_runs_at_once_onto_one_server_are_both_whole(tracking, tmp_path):
    with servers.prefect_server(tmp_path / "prefect") as prefect:
        found = runs_at_once(tmp_path, 2, tracking[0], prefect)
    assert found["runs"] == [{"code": 0, "wrong": []}] * 2
    assert len(set(found["versions"])) == 2
