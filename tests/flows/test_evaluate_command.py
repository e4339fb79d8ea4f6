"""`sear evaluate`: which model a name means, which stages an evaluation needs, what is refused."""

import json

import pytest
from mlflow import MlflowClient

from flows import evaluate
from flows.__main__ import main
from flows.config import load_config
from flows.evaluation_tables import interval, worst_line
from flows.models import find_model, is_hub_name
from sear_core.errors import InputError
from sear_core.tiny_model import build_tiny
from tasks import model_registry
from tasks.serving import save_pyfunc
from tasks.workspace import Workspace


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with a model directory, and that model registered as version 1, the champion."""
    root = tmp_path_factory.mktemp("project")
    workspace = Workspace(root)
    workspace.mlruns.mkdir()
    model, tokenizer = build_tiny(["how do I open it"] * 4, vocab_size=300, hidden_size=32, layers=2, heads=2)
    model.save_pretrained(root / "own")
    tokenizer.save_pretrained(root / "own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace.mlruns / 'mlflow.db'}")
        client = MlflowClient(f"sqlite:///{workspace.mlruns / 'mlflow.db'}")
        experiment = client.create_experiment("sear", artifact_location=(root / "artifacts").as_uri())
        run = client.create_run(experiment)
        pyfunc = save_pyfunc(root / "own", root / "pyfunc")
        source = model_registry.link_or_upload(client, run.info.run_id, pyfunc, "model")
        client.create_registered_model("sear")
        client.create_model_version("sear", source, run.info.run_id)
        client.set_registered_model_alias("sear", "champion", "1")
        yield workspace


@pytest.mark.parametrize("name", ["models:/sear@champion", "models:/sear/1", "1"])
def test_a_registered_version_is_found_by_alias_and_by_number(project, name):
    found = find_model(name, project)
    assert found.label == "sear version 1" and found.path.endswith("artifacts/own")


def test_a_directory_is_a_model_or_a_pyfunc_with_one_in_it_and_another_name_is_the_hubs(project):
    assert find_model(str(project.root / "own"), project).label == "own"
    assert find_model(str(project.root / "pyfunc"), project).path == str(
        project.root / "pyfunc/artifacts/own"
    )
    hub = find_model("owner/name", project)
    assert (hub.path, hub.label) == ("owner/name", "owner/name") and is_hub_name("owner/name")
    assert not any(map(is_hub_name, ["1", "models:/sear/1", "./own", str(project.root)]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("models:/sear@best", "models:/sear@best: no such registered model"),
        ("models:/sear/7", "models:/sear/7: no such registered model"),
        ("models:/sear", "expected models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("/no/such/model", "/no/such/model: no such model directory"),
    ],
)
def test_a_model_that_is_not_there_is_named(project, name, message):
    with pytest.raises(InputError, match=message):
        find_model(name, project)


def test_an_evaluation_needs_the_suites_alone_and_for_a_learnt_judge_the_reward_models():
    model = {"label": "owner/name", "path": "owner/name", "dtype": "bfloat16"}
    settings = load_config("demo", sets=["policy.max_steps=5"])
    dag, names = evaluate.plan(settings, "sqlite:///", model, {})
    assert [stage.name for stage in dag] == ["version", "prepare", "evaluation.owner_name"]
    assert names == ["evaluation.owner_name"]
    assert dag[-1].section["max_steps"] == 5 and dag[-1].section["model"]["dtype"] == "bfloat16"
    rules = evaluate.with_judge(settings, "rules")
    dag, _ = evaluate.plan(rules, "sqlite:///", model, {})
    assert {"validate", "reward_model"} <= {stage.name for stage in dag}


def test_judging_anew_needs_nothing_but_the_completions(tmp_path):
    settings = load_config("demo")
    dag, names = evaluate.plan(settings, "sqlite:///", None, {"sear": str(tmp_path), "sft": str(tmp_path)})
    assert [stage.name for stage in dag] == names == ["evaluation.sear", "evaluation.sft"]
    assert dag[0].section["source"] == str(tmp_path)


def test_an_unknown_judge_is_refused():
    with pytest.raises(InputError, match="--judge 'rulez'"):
        evaluate.with_judge(load_config("demo"), "rulez")


@pytest.mark.parametrize("arguments", [[], ["owner/name", "--rejudge", "abcdef"]])
def test_a_model_or_a_run_to_judge_anew_is_expected_one_of_them(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *arguments])
    assert ended.value.code == 2 and "a MODEL to evaluate, or --rejudge RUN" in capsys.readouterr().err


def test_metrics_of_several_evaluations_carry_their_arms():
    assert evaluate._metrics({"sear": {"dsr": 0.5}}) == {"dsr": 0.5}
    assert evaluate._metrics({"sear": {"dsr": 0.5}, "sft": {"dsr": 0.25}}) == {
        "sear.dsr": 0.5,
        "sft.dsr": 0.25,
    }


def test_a_folder_without_completions_is_no_evaluation(tmp_path):
    with pytest.raises(InputError, match=r"no completions.parquet there"):
        evaluate._sources(str(tmp_path), Workspace(tmp_path))


def test_tables_say_rates_with_intervals_and_where_it_is_worst():
    row = json.loads(
        '{"suite": "xstest", "slice": "homonyms", "value": 0.5, "low": 0.25, "high": 0.75, "prompts": 25}'
    )
    assert (
        worst_line("compliance", row)
        == "worst slice, compliance: xstest: homonyms .50 [.25, .75], 25 prompts"
    )
    assert interval(None) == "-"
