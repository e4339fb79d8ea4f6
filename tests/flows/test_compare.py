"""`sear compare`, the end-of-run tables and `sear ask`'s errors, on a real SQLite store."""

import json

import pytest
from mlflow import MlflowClient

from flows.ask import ask
from flows.compare import compare, compare_in
from flows.comparison_tables import print_comparison
from flows.render import print_plan, print_summary, rate
from sear_core.errors import InputError
from tasks.workspace import Workspace


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two pipeline runs, a study's member with fewer metrics, and a child run that is no pipeline."""
    folder = tmp_path_factory.mktemp("store")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.create_experiment("sear", artifact_location=folder.as_uri())

    def make(name, kind, seed, metrics, params):
        tags = {
            "seed": seed,
            "git.commit": "c0ffee",
            "dvc.md5": "d" * 32 + ".dir",
            **({"sear.kind": kind} if kind else {}),
        }
        run = client.create_run(experiment, tags=tags, run_name=name)
        for key, value in metrics.items():
            client.log_metric(run.info.run_id, key, value)
        for key, value in params.items():
            client.log_param(run.info.run_id, key, value)
        client.set_terminated(run.info.run_id)
        return run.info.run_id

    ids = {
        "one": make("one", "pipeline", "0",
                    {"sear.dsr": 0.5, "sear.dsr.low": 0.4, "sear.dsr.high": 0.6, "sft.dsr": 0.3},
                    {"policy.updates": "100", "policy.beta": "0.03"}),
        "two": make("two", "pipeline", "1", {"sear.dsr": 0.75, "sear.dsr.low": 0.7, "sear.dsr.high": 0.8},
                    {"policy.updates": "200", "policy.beta": "0.03"}),
        "child": make("policy.sear", "", "0", {"sear.dsr": 9.0}, {}),
    }  # fmt: skip
    return client, ids


def test_values_intervals_and_differences_to_the_first_run(store):
    client, ids = store
    found = compare_in(client, ["one", "two"]).as_json()
    assert [run["run_id"] for run in found["runs"]] == [ids["one"], ids["two"]]
    assert found["metrics"]["sear.dsr"] == {
        ids["one"]: {"value": 0.5, "low": 0.4, "high": 0.6, "difference": 0.0},
        ids["two"]: {"value": 0.75, "low": 0.7, "high": 0.8, "difference": 0.25},  # .75 - .50
    }
    # the second run has no warm start metric: it is absent, not zero
    assert found["metrics"]["sft.dsr"] == {
        ids["one"]: {"value": 0.3, "low": None, "high": None, "difference": 0.0}
    }
    json.dumps(found, allow_nan=False)


def test_only_what_differs_is_listed(store):
    client, ids = store
    assert compare_in(client, ["one", "two"]).config_differences == {
        "policy.updates": {ids["one"]: "100", ids["two"]: "200"},
        "seed": {ids["one"]: "0", ids["two"]: "1"},
    }


def test_a_run_is_found_by_id_prefix_and_name_and_never_twice(store):
    client, ids = store
    for way in (ids["two"], ids["two"][:8], "two"):
        assert [run.run_id for run in compare_in(client, [way, "two"]).runs] == [ids["two"]]


def test_an_unknown_run_and_a_short_prefix_name_the_newest_runs(store):
    client, ids = store
    for wrong in ("nonesuch", ids["two"][:5], "policy.sear"):
        with pytest.raises(InputError, match=rf"{wrong}.*{ids['two'][:8]} \(two\).*{ids['one'][:8]} \(one\)"):
            compare_in(client, [wrong])
    with pytest.raises(InputError, match="no run given"):
        compare_in(client, [])


def test_without_a_store_nothing_is_created(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match="sear run"):
        compare(["one"], Workspace(tmp_path))
    with pytest.raises(InputError, match="no model 'sear' is registered"):
        ask("hello", Workspace(tmp_path))
    with pytest.raises(InputError, match="blank"):
        ask(" ", Workspace(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_tables_go_to_standard_error_in_plain_text(store, capsys):
    client, _ = store
    print_comparison(compare_in(client, ["one", "two"]))
    printed = capsys.readouterr()
    assert printed.out == "" and ".75 [.70, .80]  +0.25" in printed.err and "policy.updates" in printed.err


def test_the_summary_shows_every_arm_and_attack_with_intervals(capsys):
    metrics = {
        "dsr": 0.951,
        "dsr.low": 0.9,
        "dsr.high": 1.0,
        "dsr.benign_hijack": 0.0,
        "compliance.ambiguous": float("nan"),
    }
    print_summary({
        "arms": {"sear[x]": metrics}, "report": "/a/report.html", "run_id": "abc",
        "stages": [{"name": "version", "cached": True, "seconds": 0.1, "reason": ""}],
        "model": {"name": "sear", "version": "2", "promoted": False, "reasons": ["dsr too low"]},
    })  # fmt: skip
    printed = capsys.readouterr()
    assert printed.out == ""
    for words in ("sear[x]", ".95 [.90, 1.00]", "benign hijack", ".00", "1 from the store", "not promoted",
                  "dsr too low", "/a/report.html"):  # fmt: skip
        assert words in printed.err
    assert rate(metrics, "compliance.ambiguous") == "-"  # not measured


def test_the_plan_has_a_line_per_stage_with_its_reason(capsys):
    stages = [
        {"name": "version", "cached": True, "reason": "unchanged"},
        {"name": "prepare", "cached": False, "reason": "data.seed changed: 0 -> 1"},
    ]
    print_plan({"stages": stages})
    err = capsys.readouterr().err
    assert "cached" in err and "data.seed changed: 0 -> 1" in err and "1 of 2 stages to run" in err
