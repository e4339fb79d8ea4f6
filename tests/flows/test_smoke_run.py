"""The smoke DAG once, from a fresh checkout without data, through the command; then all that it left."""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from pathlib import Path

import kill_resume
import pytest
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from flows.config import load_config
from flows.plan import plan
from flows.reproduction import metrics_of_arms
from sear_core.data.corpus import expected_hashes
from sear_core.data.sources import file_sha256
from sear_core.errors import InputError
from tasks.dvc_adapter import tracked_version
from tasks.stage import finite
from tasks.workspace import Workspace

ATTACKS = ("harmful_prefill", "benign_hijack", "answer_prefill")
ARMS = ("sft", "grpo", "sear")
STAGES = [
    "version", "prepare", "validate", "warm_start", "reward_model", "policy.grpo", "policy.sear",
    "evaluation.sft", "evaluation.grpo", "evaluation.sear", "champion", "compare", "report", "register",
]  # fmt: skip
RATES = (
    "dsr", *(f"dsr.{attack}" for attack in ATTACKS), "compliance.harmless", "compliance.ambiguous",
    *(f"compliance.{attack}" for attack in ATTACKS), "exploration_rate", "flip_rate", "end_of_thinking_rate",
    "reasoning_tokens.mean",
)  # fmt: skip
# What a rate is conditional on may not occur with an untrained model; then it cannot be measured.
MAY_BE_UNMEASURED = {"flip_rate"}


class Smoke:
    """One finished run: its workspace, what the command said, and its MLflow store."""

    def __init__(self, root: Path, called) -> None:
        self.root, self.called, self.result = root, called, called.json
        self.client = MlflowClient(f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")

    def parent(self, run_id: str | None = None):
        return self.client.get_run(run_id or self.result["run_id"])

    def children(self, run_id: str | None = None) -> dict:
        parent = self.parent(run_id)
        found = self.client.search_runs(
            [parent.info.experiment_id], f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}'"
        )
        return {run.data.tags["sear.stage"]: run for run in found}

    def artifacts(self, run_id: str) -> set[str]:
        return {item.path for item in self.client.list_artifacts(run_id)}

    def store(self, stage: str) -> Path:
        """The output folder of the newest entry of a stage."""
        entries = (self.root / ".sear" / "store" / stage).glob("*/entry.json")
        return max(entries, key=lambda path: path.stat().st_mtime).parent / "out"

    def plan(self, *sets: str) -> dict[str, tuple[bool, str]]:
        rows = plan(load_config("smoke", sets=list(sets)), Workspace(self.root))["stages"]
        return {row["name"]: (row["cached"], row["reason"]) for row in rows}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory, run_sear, fresh_workspace) -> Smoke:
    root = fresh_workspace(tmp_path_factory.mktemp("smoke") / "checkout")
    called = run_sear(root, "run", "--preset", "smoke", "--json")
    assert called.code == 0, called.err[-4000:]
    return Smoke(root, called)


@pytest.fixture(scope="module")
def again(smoke, run_sear) -> Smoke:
    called = run_sear(smoke.root, "run", "--preset", "smoke", "--json")
    assert called.code == 0, called.err[-4000:]
    return Smoke(smoke.root, called)


@pytest.fixture(autouse=True)
def own_store(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_the_json_has_the_shape_of_the_contract(smoke):
    result = smoke.result
    assert result["schema_version"] == 1 and result["status"] == "finished"
    assert [stage["name"] for stage in result["stages"]] == STAGES
    for stage in result["stages"]:
        assert {"name", "cached", "seconds", "reason"} <= set(stage)
        assert (stage["cached"], stage["reason"]) == (False, "never run")
        assert stage["seconds"] > 0
    assert result["data"]["dvc_md5"] == tracked_version(smoke.root / "data.dvc").md5
    assert len(result["data"]["prepared_sha256"]) == 64
    assert set(result["arms"]) == set(ARMS)
    assert Path(result["report"]).read_text().startswith("<!")
    assert result["model"]["version"] == "1"
    assert "Traceback" not in smoke.called.err


def test_the_embedded_sources_were_rebuilt_to_the_byte(smoke):
    folder = smoke.root / "data" / "embedded"
    assert {path.name: file_sha256(path) for path in folder.iterdir()} == expected_hashes()


@pytest.mark.parametrize("arm", ARMS)
def test_every_metric_of_the_contract_is_there_with_its_interval(smoke, arm):
    metrics = smoke.result["arms"][arm]
    for name in RATES:
        if name in MAY_BE_UNMEASURED and name not in metrics:
            continue
        low, value, high = (metrics[f"{name}{end}"] for end in (".low", "", ".high"))
        assert low <= value <= high, name
        assert name == "reasoning_tokens.mean" or (low >= 0 and high <= 1), name


def test_the_parent_run_carries_tags_headline_metrics_data_and_config(smoke):
    parent = smoke.parent()
    tags = parent.data.tags
    assert parent.info.status == "FINISHED"
    assert tags["git.dirty"] == "false" and len(tags["git.commit"]) == 40
    assert tags["dvc.md5"] == smoke.result["data"]["dvc_md5"]
    assert tags["config.sha256"] == load_config("smoke").sha256
    assert len(tags["prefect.flow_run_id"]) == 36
    assert (tags["arm"], tags["seed"]) == ("grpo,sear", "0")
    candidate = smoke.result["arms"]["sear"]
    for name in RATES:
        for end in ("", ".low", ".high"):
            if f"{name}{end}" in candidate:
                assert parent.data.metrics[f"{name}{end}"] == candidate[f"{name}{end}"]
    for arm in ARMS:
        assert parent.data.metrics[f"{arm}.dsr"] == smoke.result["arms"][arm]["dsr"]
    (dataset,) = parent.inputs.dataset_inputs
    assert dataset.dataset.digest == smoke.result["data"]["dvc_md5"]
    assert {"config.json", "report.html"} <= smoke.artifacts(parent.info.run_id)
    assert parent.data.params["policy.updates"] == "4"


def test_every_stage_has_a_finished_child_run_with_the_same_lineage(smoke):
    children, parent = smoke.children(), smoke.parent()
    assert sorted(children) == sorted(STAGES)
    for stage, child in children.items():
        assert child.info.status == "FINISHED", stage
        for tag in ("git.commit", "git.dirty", "config.sha256", "prefect.flow_run_id", "seed"):
            assert child.data.tags[tag] == parent.data.tags[tag]
        assert stage == "version" or child.data.tags["dvc.md5"] == parent.data.tags["dvc.md5"]
        if "." in stage:
            assert child.data.tags["arm"] == stage.partition(".")[2]


@pytest.mark.parametrize("arm", ARMS)
def test_the_evaluation_child_has_the_metrics_that_the_json_has(smoke, arm):
    logged = smoke.children()[f"evaluation.{arm}"].data.metrics
    assert {k: v for k, v in smoke.result["arms"][arm].items() if logged.get(k) != v} == {}


def test_a_reproduction_compares_every_metric_of_every_arm(smoke):
    assert metrics_of_arms(smoke.client, smoke.parent()) == {
        f"{arm}.{name}": value for arm in ARMS for name, value in finite(smoke.result["arms"][arm]).items()
    }


def test_curves_were_written_while_training(smoke):
    children = smoke.children()
    curves = {
        ("warm_start", "loss"): 2, ("policy.sear", "loss"): 4, ("policy.grpo", "loss"): 4,
        ("reward_model", "harm/loss"): 2, ("reward_model", "helpfulness/margin"): 2,
    }  # fmt: skip
    for (stage, name), least in curves.items():
        history = smoke.client.get_metric_history(children[stage].info.run_id, name)
        assert len({point.step for point in history}) >= least, (stage, name)
        assert all(math.isfinite(point.value) for point in history)


def test_data_docs_report_and_comparison_are_artifacts_and_no_weights_are_but_the_registered(smoke):
    children = smoke.children()
    docs = smoke.artifacts(children["validate"].info.run_id)
    assert docs == {"docs", "result.json"}
    assert "docs/index.html" in {
        item.path for item in smoke.client.list_artifacts(children["validate"].info.run_id, "docs")
    }
    assert "comparison.json" in smoke.artifacts(children["compare"].info.run_id)
    assert "report.html" in smoke.artifacts(children["report"].info.run_id)
    with_weights = {path.parts[-5] for path in (smoke.root / "mlruns").rglob("*.safetensors")}
    assert with_weights == {"artifacts"}
    assert len(list((smoke.root / "mlruns").rglob("*.safetensors"))) == 1


def test_the_model_version_is_a_pyfunc_without_pickles_that_loads_and_answers(smoke):
    import mlflow.pyfunc

    found = smoke.client.get_model_version_by_alias("sear", "candidate")
    assert str(found.version) == smoke.result["model"]["version"]
    assert found.aliases == ["candidate"]  # an untrained model meets no floor of the gate
    assert found.tags["gate"] == "failed" and "fails: needs ≥ 0." in found.tags["gate.reasons"]
    assert (smoke.result["model"]["passed"], smoke.result["model"]["promoted"]) == (False, False)
    assert found.tags["dvc.md5"] == smoke.result["data"]["dvc_md5"]
    source = Path(found.source.removeprefix("file://"))
    assert (source / "MLmodel").is_file()
    assert [path for path in source.rglob("*") if path.suffix in (".pkl", ".pickle", ".bin", ".pt")] == []
    weights = next(source.rglob("*.safetensors"))
    trained = smoke.store("policy.sear") / "model" / "model.safetensors"
    assert weights.stat().st_ino == trained.stat().st_ino  # stored once
    answers = mlflow.pyfunc.load_model(str(source)).predict(["is there a way to fix the lamp?"])
    assert len(answers) == 1 and isinstance(answers[0], str)


def test_the_run_left_a_clean_tree_and_nothing_half_done(smoke):
    status = subprocess.run(
        ["git", "-C", str(smoke.root), "status", "--porcelain"], capture_output=True, text=True, check=True
    )
    assert status.stdout == ""
    assert list((smoke.root / ".sear" / "store").glob("*/*.partial")) == []
    assert [path.name for path in smoke.root.iterdir() if path.name.startswith(".embedded-")] == []


def test_an_unchanged_rerun_executes_nothing_and_says_the_same(smoke, again):
    assert [stage["name"] for stage in again.result["stages"]] == STAGES
    assert [s for s in again.result["stages"] if not s["cached"] or s["reason"] != "unchanged"] == []
    for key in ("arms", "data", "report", "model"):
        assert again.result[key] == smoke.result[key]
    assert again.result["run_id"] != smoke.result["run_id"]


def test_a_cached_stage_still_has_a_child_run_that_names_its_origin(smoke, again):
    first, second = smoke.children(), again.children()
    assert sorted(second) == sorted(STAGES)
    for stage, child in second.items():
        assert child.data.tags["sear.cached_from"] == first[stage].info.run_id
        assert "sear.cached_from" not in first[stage].data.tags
    assert second["evaluation.sear"].data.metrics == first["evaluation.sear"].data.metrics
    assert again.parent().data.metrics == smoke.parent().data.metrics


def test_a_run_that_was_killed_in_two_stages_ends_as_the_one_that_was_left_alone(
    smoke, tmp_path, fresh_workspace
):
    """SIGKILL while the reward models train, then after the policy's first checkpoint; the same call each time."""
    root = fresh_workspace(tmp_path / "checkout")
    shutil.copytree(smoke.root / "data", root / "data")
    for stage in ("prepare", "validate"):  # they do not depend on where they lie
        shutil.copytree(smoke.root / ".sear" / "store" / stage, root / ".sear" / "store" / stage)
    call = ["--preset", "smoke", "--until", "evaluation.sear"]
    for moment in ("reward_model/*.partial/out", "policy.sear/*.partial/out/checkpoints/*/manifest.json"):
        process = kill_resume.start(root, call)
        while not list((root / ".sear" / "store").glob(moment)):
            assert process.poll() is None, kill_resume.messages(root).read_text()
            time.sleep(0.02)
        process.kill()
        process.communicate()
    killed = kill_resume.left(root, kill_resume.to_the_end(root, call))
    whole = kill_resume.left(smoke.root, smoke.result)
    stages = ["prepare", "validate", "warm_start", "reward_model", "policy.sear", "evaluation.sear"]
    for stage in stages[2:]:
        assert killed["outputs"][stage] == whole["outputs"][stage], stage
    assert killed["arms"] == {"sear": whole["arms"]["sear"]}
    policy = {name: curve for name, curve in killed["curves"].items() if name.startswith("policy.sear/")}
    assert policy and policy == {name: whole["curves"][name] for name in policy}
    # one run, taken up twice, with one child per stage: nothing is left "running"
    assert killed["runs"] == sorted(
        [("parent", "FINISHED"), *((s, "FINISHED") for s in ["version", *stages])]
    )
    client = MlflowClient(f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")
    tags = [run.data.tags for run in client.search_runs(["1"])]
    assert [tag["sear.resumed"] for tag in tags if "sear.call" in tag] == ["2"]
    assert (killed["half-written"], killed["processes"]) == ([], [])


def test_plan_says_that_all_is_cached_and_writes_nothing(smoke, again, run_sear):
    before = {path: path.stat().st_mtime_ns for path in smoke.root.rglob("*.json")}
    called = run_sear(smoke.root, "plan", "--preset", "smoke", "--json")
    assert called.code == 0, called.err
    assert called.json["stages"] == [{"name": name, "cached": True, "reason": "unchanged"} for name in STAGES]
    assert {path: path.stat().st_mtime_ns for path in smoke.root.rglob("*.json")} == before


def test_a_changed_setting_runs_its_stage_and_what_hangs_on_it_and_nothing_else(smoke, again):
    found = smoke.plan("policy.beta=0.05")
    to_run = {name for name, (cached, _) in found.items() if not cached}
    assert to_run == {
        "policy.grpo", "policy.sear", "evaluation.grpo", "evaluation.sear", "champion", "compare", "report", "register",
    }  # fmt: skip
    assert found["policy.sear"][1] == "config beta: 0.02 → 0.05"
    assert found["evaluation.sear"][1] == "waits for policy.sear"
    one_arm = smoke.plan("arm.sear.beta=0.05")
    assert one_arm["policy.grpo"] == one_arm["evaluation.grpo"] == (True, "unchanged")
    assert one_arm["policy.sear"][0] is False
    gate = smoke.plan("gate.min_dsr=0.1")
    assert {name for name, (cached, _) in gate.items() if not cached} == {"compare", "report", "register"}
    # how a run is carried out is no part of any key: the same model is not registered twice
    assert {cached for cached, _ in smoke.plan("workers=1", "launcher=inprocess").values()} == {True}
    seed = smoke.plan("seed=1")
    assert seed["version"] == (True, "unchanged") and seed["prepare"][0] is False


def test_a_damaged_output_and_a_changed_source_are_noticed(smoke, again):
    weights = smoke.store("warm_start") / "model" / "config.json"
    kept = weights.read_bytes()
    try:
        weights.write_bytes(kept + b" ")
        found = smoke.plan()
    finally:
        weights.write_bytes(kept)
    assert found["warm_start"] == (False, "cached output damaged: model/config.json has changed")
    assert found["policy.sear"] == (False, "waits for warm_start")
    assert found["reward_model"] == (True, "unchanged")
    source = smoke.root / "data" / "embedded" / "prompts.jsonl"
    kept = source.read_bytes()
    try:
        source.write_bytes(kept[kept.index(b"\n") + 1 :])  # without its first row
        with pytest.raises(InputError, match=r"differs from data\.dvc .*embedded/prompts\.jsonl"):
            smoke.plan()
    finally:
        source.write_bytes(kept)
    assert {cached for cached, _ in smoke.plan().values()} == {True}


def test_a_gate_that_asks_less_makes_the_same_model_champion(smoke, again, run_sear):
    """The last test: with a champion the plan is another one."""
    floors = ("min_dsr", "min_compliance_harmless", "min_compliance_ambiguous")
    sets = [word for name in floors for word in ("--set", f"gate.{name}=0")]
    called = run_sear(smoke.root, "run", "--preset", "smoke", "--json", *sets)
    assert called.code == 0, called.err[-4000:]
    computed = [stage["name"] for stage in called.json["stages"] if not stage["cached"]]
    assert computed == ["compare", "report", "register"]
    assert called.json["model"]["promoted"] and called.json["arms"] == smoke.result["arms"]
    champion = smoke.client.get_model_version_by_alias("sear", "champion")
    assert str(champion.version) == called.json["model"]["version"] == "2"
