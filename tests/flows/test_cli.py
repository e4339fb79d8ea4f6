"""What goes wrong at the command: exit code, one paragraph that names the culprit, nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow.exceptions import MlflowException

from flows import __main__ as command
from sear_core.data.corpus import write_sources
from tasks import cache
from tasks.workspace import Workspace

# A tiny project of its own: one made-up source per table, so that the early stages take a second.
ROWS = {
    "rl_prompts": {"prompt": "how do I water plant {i}?", "category": "harmless"},
    "evaluation": {"prompt": "how do I feed fish {i}?", "category": "harmless", "suite": "own"},
}


def own_project(folder: Path, rows: int = 30, **changed: str) -> Path:
    """Sources and a config file in `folder`; `changed` replaces a source file's text."""
    (folder / "own").mkdir(parents=True)
    text = f'extends = "smoke"\nlauncher = "inprocess"\nworkers = 1\n[data]\nroot = "{folder / "own"}"\n'
    for role, row in ROWS.items():
        lines = [json.dumps({k: v.format(i=i) for k, v in row.items()}) for i in range(rows)]
        (folder / "own" / f"{role}.jsonl").write_text(changed.get(role, "\n".join(lines) + "\n"))
        text += f'[[data.sources]]\nname = "{role}"\npath = "{role}.jsonl"\nrole = "{role}"\n'
    (folder / "own.toml").write_text(text)
    return folder / "own.toml"


@pytest.fixture
def call(monkeypatch, capfd, workspace):
    """`sear ARGUMENTS` in this process, in a workspace of its own: (exit code, stdout, stderr)."""
    monkeypatch.chdir(workspace)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def called(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            command.main(list(arguments))
        out = capfd.readouterr()
        return ended.value.code, out.out, out.err

    return called


def one_paragraph(text: str) -> bool:
    return "Traceback" not in text and len(text.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["plan", "--preset", "smok"], "preset 'smok' does not exist; did you mean 'smoke'?"),
        (["plan", "--preset", "smoke", "--set", "polcy.beta=1"], "'polcy'; did you mean 'policy'?"),
        (["plan", "--preset", "smoke", "--set", "seed=a"], "seed: Input should be a valid integer"),
        (["plan", "--preset", "smoke", "--from", "nope"], "--from 'nope': no such stage; there are: ver"),
        (["plan", "--preset", "smoke", "--until", "nope"], "--until 'nope': no such stage"),
        (["plan", "--config", "absent.toml"], "absent.toml: no such config file"),
        (["plan", "--preset", "smoke", "--config", "x.toml"], "--preset and --config exclude each other"),
        (["plan", "--preset", "public", "--set", "data.root=/nonexistent"],
         "data.root = '/nonexistent': no such directory"),
        (["plan", "--preset", "smoke", "--set", "warm_start.model.path=/nonexistent/model"],
         "/nonexistent/model: no such model directory"),
        (["compare", "abcdef"], "no run"),
        (["report", "abcdef"], "no run"),
        (["ask", "what is that?"], "no model 'sear' is registered"),
    ],
)  # fmt: skip
def test_a_wrong_call_ends_with_2_and_names_what_is_wrong(call, arguments, told):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert told in err and one_paragraph(err), err


@pytest.mark.parametrize("arguments", [["trane"], ["plan", "--presett", "smoke"], ["ask"]])
def test_an_unknown_command_or_option_ends_with_2(call, arguments):
    code, _, err = call(*arguments)
    assert code == 2 and "Traceback" not in err


def test_a_shell_without_utf_8_is_told_what_to_set(call, monkeypatch):
    monkeypatch.setattr("locale.getpreferredencoding", lambda _=True: "ISO-8859-1")
    code, _, err = call("plan", "--preset", "smoke")
    assert (
        code == 2 and "encoding is ISO-8859-1, expected UTF-8: set PYTHONUTF8=1" in err and one_paragraph(err)
    )


def test_an_empty_data_root_is_named(call, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = call("plan", "--preset", "public", "--set", f"data.root={tmp_path / 'empty'}")
    assert code == 2 and "the data root is empty" in err and str(tmp_path / "empty") in err


def test_a_model_directory_without_safetensors_is_named_before_anything_runs(call, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"")
    for section in ("warm_start", "reward_model"):
        code, _, err = call("run", "--preset", "smoke", "--set", f"{section}.model.path={tmp_path / 'model'}")
        assert code == 2 and f"{tmp_path / 'model'}: no *.safetensors file" in err and one_paragraph(err)
    assert not (Path.cwd() / ".sear").exists()


@pytest.mark.parametrize("taken", [".sear", "mlruns"])
def test_a_workspace_that_cannot_be_written_is_named(call, taken):
    (Path.cwd() / taken).write_text("a file where a folder should be")
    code, out, err = call("run", "--preset", "smoke", "--json")
    assert (code, out) == (2, "")
    assert str(Path.cwd() / taken) in err and "cannot be written" in err and one_paragraph(err)


@pytest.mark.parametrize(
    ("variable", "uri", "told"),
    [
        ("MLFLOW_TRACKING_URI", "http://127.0.0.1:9", "MLflow store: http://127.0.0.1:9: no answer"),
        (
            "MLFLOW_TRACKING_URI",
            "postgresql://me:secret@127.0.0.1:9/x",
            "MLflow store: postgresql://127.0.0.1:9/x",
        ),
        ("PREFECT_API_URL", "http://127.0.0.1:9/api", "Prefect API: http://127.0.0.1:9/api: no answer"),
    ],
)
def test_a_server_that_is_away_is_named_before_anything_runs(call, monkeypatch, variable, uri, told):
    monkeypatch.setenv(variable, uri)
    code, out, err = call("run", "--preset", "smoke", "--json")
    assert (code, out) == (2, "")
    assert told in err and "secret" not in err and one_paragraph(err), err
    assert not list(Workspace(Path.cwd()).store.glob("*/*"))


@pytest.mark.parametrize(
    "arguments",
    [["compare", "abcdef"], ["report", "abcdef"], ["ask", "what is that?"], ["history"], ["promote", "1"],
     ["ask", "what is that?", "--model", "models:/sear@champion"], ["evaluate", "models:/sear/1"]],
)  # fmt: skip
def test_no_command_waits_for_a_server_that_is_away(call, monkeypatch, arguments):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert "MLflow store: http://127.0.0.1:9: no answer" in err and one_paragraph(err), err


def test_planning_an_untouched_checkout_creates_nothing(call):
    before = sorted(Path.cwd().iterdir())
    code, out, _ = call("plan", "--preset", "smoke", "--json")
    stages = json.loads(out)["stages"]
    assert code == 0 and len(stages) == 14 and not any(stage["cached"] for stage in stages)
    assert stages[0]["reason"].startswith("sources are not here yet")
    assert sorted(Path.cwd().iterdir()) == before


@pytest.fixture
def plain_run(call, monkeypatch):
    """`call`, with flow and tasks as the plain functions they decorate: no server has to start."""
    from flows import run
    from tasks.stage import run_stage

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd() / 'mlruns' / 'mlflow.db'}")
    plain = run.pipeline.fn
    monkeypatch.setattr(run, "pipeline", SimpleNamespace(with_options=lambda **_: plain))
    monkeypatch.setattr(run, "prefect_task", lambda stage: run_stage)
    return call


def test_a_malformed_source_row_ends_with_2_and_nothing_is_kept(plain_run, tmp_path):
    file = own_project(
        tmp_path / "project", evaluation='{"prompt": "fine", "category": "harmless"}\n{"prompt": \n'
    )
    code, out, err = plain_run("run", "--config", str(file), "--until", "prepare", "--json")
    assert (code, out) == (2, "")
    last = err.strip().splitlines()[-1]
    assert last.startswith(f"error: {file.parent / 'own' / 'evaluation.jsonl'}: line 2: ")
    assert "Traceback" not in err
    assert not list(Workspace(Path.cwd()).store.glob("*/*/entry.json"))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "weights"),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),  # in the middle of a file nobody knows its name
        MlflowException("(sqlite3.OperationalError) database or disk is full\n[SQL: UPDATE runs …"),
    ],
)
def test_a_full_disk_ends_with_1_and_nothing_is_kept(plain_run, monkeypatch, tmp_path, error):
    def full(*_):
        raise error

    monkeypatch.setattr(cache.Store, "commit", full)
    code, out, err = plain_run("run", "--config", str(own_project(tmp_path / "project")), "--json")
    assert (code, out) == (1, "")
    place = getattr(error, "filename", None) or Path.cwd()
    assert (
        err.strip()
        .splitlines()[-1]
        .startswith(f"error: {place}: No space left on device. What was finished is safe")
    )
    assert "Traceback" not in err
    assert not list(Workspace(Path.cwd()).store.glob("*/*/entry.json"))


# in a process of its own, under Prefect
def test_a_planted_think_tag_closes_the_data_gate_before_anything_is_trained(run_sear, workspace, tmp_path):
    sources = tmp_path / "sources" / "embedded"
    write_sources(sources)
    lines = (sources / "evaluation.jsonl").read_text().splitlines()
    row = json.loads(lines[0])
    row["prompt"] += " <think>"
    (sources / "evaluation.jsonl").write_text("\n".join([json.dumps(row), *lines[1:]]) + "\n")
    called = run_sear(
        workspace, "run", "--preset", "smoke", "--set", f"data.root={sources.parent}",
        "--until", "warm_start", "--json",
    )  # fmt: skip
    assert (called.code, called.out) == (1, "")
    last = called.err.strip().splitlines()[-1]
    assert last.startswith(
        "failed: the data gate is closed: evaluation: not so: no prompt holds a chat or reasoning token"
    ), called.err
    assert "[expect_column_values_to_be_in_set(prompt_has_control_token)]: 1 row, such as evaluation:" in last
    assert "Data Docs:" in last
    assert row["prompt"] not in called.err and "Traceback" not in called.err
    assert not (workspace / ".sear" / "store" / "warm_start").exists()
    assert not list((workspace / ".sear" / "store" / "validate").glob("*/entry.json"))


@pytest.mark.parametrize("arguments", [["--help"], ["plan", "--help"], ["--version"]])
def test_help_is_quick_because_heavy_things_are_imported_late(arguments):
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "flows", *arguments], capture_output=True, text=True, check=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(f"sear {' '.join(arguments)}: {min(times):.2f} s")
    assert min(times) < 0.8  # of the processor, so that a busy machine does not fail it; 0.5 s is the aim
    assert "sear" in done.stdout.lower() or arguments == ["--version"]


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (command.Terminated(), 143)])
def test_a_signal_ends_with_the_shells_code_and_what_to_do_next(call, monkeypatch, error, code):
    def interrupted(*_, **__):
        raise error

    monkeypatch.setattr(command, "app", interrupted)
    ended, _, err = call("run")
    assert ended == code and "the same command continues where it was" in err and one_paragraph(err)
