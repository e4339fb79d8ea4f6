"""`sear ask` on a real registry; the model is untrained, so what it writes is never a proper answer."""

import shutil

import pytest

from flows.ask import ask
from sear_core.errors import InputError
from sear_core.tiny_model import build_tiny
from tasks import model_registry
from tasks.serving import save_pyfunc
from tasks.workspace import Workspace


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A project whose store has one candidate, version 1."""
    from mlflow import MlflowClient

    workspace = Workspace(tmp_path)
    workspace.mlruns.mkdir()
    uri = f"sqlite:///{workspace.mlruns / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    model, tokenizer = build_tiny(["how do I open it"] * 4, vocab_size=300, hidden_size=32, layers=2, heads=2)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    pyfunc = save_pyfunc(tmp_path / "model", tmp_path / "pyfunc")
    client = MlflowClient(uri)
    run = client.create_run(
        client.create_experiment("sear", artifact_location=(tmp_path / "artifacts").as_uri())
    )
    source = model_registry.link_or_upload(client, run.info.run_id, pyfunc, "model")
    client.create_registered_model("sear")
    client.create_model_version("sear", source, run.info.run_id)
    client.set_registered_model_alias("sear", "candidate", "1")
    return workspace, client


def test_the_candidate_answers_with_a_warning_until_there_is_a_champion(registry, capsys):
    workspace, client = registry
    ask("how do I open it", workspace)
    assert "no champion yet: candidate version 1" in capsys.readouterr().err
    client.set_registered_model_alias("sear", "champion", "1")
    ask("how do I open it", workspace)
    assert "no champion" not in capsys.readouterr().err


def test_gibberish_is_no_answer_and_its_text_is_not_shown_unless_asked_for(registry, capsys):
    workspace, _ = registry
    assert ask("how do I open it", workspace) == ""
    assert "there is no answer" in capsys.readouterr().err
    shown = ask("how do I open it", workspace, show_reasoning=True)
    assert shown.startswith("reasoning (it may explore unsafe ideas") and shown.endswith("answer:\n")


def test_a_version_whose_files_are_gone_is_named(registry):
    workspace, _ = registry
    shutil.rmtree(workspace.root / "artifacts")
    with pytest.raises(InputError, match=r"sear version 1: .* is gone"):
        ask("how do I open it", workspace)
