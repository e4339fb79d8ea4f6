"""A small study end to end through the command: four arms, two seeds, two members that fail; then resumed."""

import json
import math
import re
import statistics
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from flows.config import load_config
from sear_core.tiny_model import build_causal_lm, build_tokenizer

CONFIG = """
extends = "smoke"
[validation.min_rows]
rl_prompts = 9
warm_start = 9
step_labels = 9
answer_labels = 9
preferences = 9
evaluation = 9
[warm_start]
epochs = 1
[warm_start.model.tiny]
vocab_size = 400
[reward_model.model.tiny]
vocab_size = 400
[reward_model.harm]
epochs = 1
[reward_model.helpfulness]
epochs = 1
[policy]
updates = 2
save_every = 1
num_iterations = 1
prompts_per_update = 4
group_size = 2
max_completion_length = 10
[evaluation]
limit = 3
max_new_tokens = 10
attacks = ["benign_hijack"]
reasoning_use = false
[study]
seeds = 1
[study.arms]
sft = 1
grpo = 2
sear = 2
recap = 1
[study.variants.broken]
arm = "sear"
warm_start = { train = false, model.path = "writer" }
policy.process_reward = "broken_reward:Broken"
[study.variants.unmade]
arm = "sear"
policy.process_reward = "broken_reward:Unmade"
"""
BROKEN = """
class Broken:
    def values(self, prompts, steps):
        raise ZeroDivisionError("no value today")


class Unmade(Broken):
    def __init__(self, limit):
        self.limit = limit
"""
SOURCE = """
[[data.sources]]
name = "{name}"
path = "{path}"
role = "{role}"
columns = {{ split = "split" }}
limit = 150
"""
FINISHED = [
    ("sft", 0), ("grpo", 0), ("sear", 0), ("recap", 0), ("grpo", 1), ("sear", 1),
]  # fmt: skip


class Study:
    def __init__(self, root: Path, called) -> None:
        self.root, self.called, self.result = root, called, called.json
        self.client = MlflowClient(f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")

    def below(self, run_id: str) -> list:
        run = self.client.get_run(run_id)
        return self.client.search_runs(
            [run.info.experiment_id], f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run_id}'", max_results=200
        )


def save_writer(folder: Path) -> None:
    """A model that writes `a</think>b` behind every prompt: the members' own write no reasoning that can be valued.

    Its layers add nothing, so that the next token follows from the last one alone.
    """
    tokenizer = build_tokenizer(["</think>"], 300)
    model = build_causal_lm(
        "llama", len(tokenizer), 32, 1, 2, 2048, seed=0,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    rows = model.get_input_embeddings().weight.detach()
    model.config.tie_word_embeddings, model.lm_head.weight = False, torch.nn.Parameter(torch.zeros_like(rows))
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        chain = [*tokenizer("\na</think>b")["input_ids"], tokenizer.eos_token_id]
        for last, following in pairwise(chain):
            model.lm_head.weight[following] += 10 * rows[last] / rows[last].norm()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory, run_sear, fresh_workspace) -> Study:
    root = fresh_workspace(tmp_path_factory.mktemp("study") / "checkout")
    save_writer(root / "writer")
    few = [SOURCE.format(**source.model_dump()) for source in load_config("smoke").data.sources]
    (root / "study.toml").write_text(CONFIG + "".join(few))
    (root / "broken_reward.py").write_text(BROKEN)
    called = run_sear(root, "study", "--config", "study.toml", "--workers", "2", "--json")
    assert called.code == 1, called.err[-4000:]  # two members fail
    return Study(root, called)


@pytest.fixture(scope="module")
def again(study, run_sear) -> Study:
    return Study(
        study.root, run_sear(study.root, "study", "--config", "study.toml", "--workers", "2", "--json")
    )


def test_a_member_that_fails_is_reported_and_all_others_finish(study):
    members = {(m["arm"], m["seed"]): m for m in study.result["members"]}
    assert [key for key, member in members.items() if member["status"] == "finished"] == FINISHED
    broken, unmade = members["broken", 0], members["unmade", 0]
    assert re.fullmatch(
        r"policy\.broken: stage policy\.broken: RuntimeError: the process reward Broken failed on \d+ reasonings: "
        "ZeroDivisionError: no value today",
        broken["error"],
    )
    assert unmade["error"] == (
        "policy.unmade: policy.process_reward = 'broken_reward:Unmade': Unmade() without arguments failed "
        "(TypeError: Unmade.__init__() missing 1 required positional argument: 'limit')"
    )
    for member in (broken, unmade):
        assert member["status"] == "failed" and member["metrics"] == {}
        assert f"policy.{member['arm']}: failed" in study.called.err
    assert study.result["status"] == "members failed"
    # of the one that failed at work the traceback is told, down to its own line
    assert 'raise ZeroDivisionError("no value today")' in study.called.err


def test_the_json_has_the_shape_of_the_contract(study):
    result = study.result
    assert {"study_id", "members", "arms", "differences", "report"} <= set(result)
    assert set(result["arms"]) == {arm for arm, _ in FINISHED}
    assert set(result["differences"]) == {arm for arm, _ in FINISHED} - {"grpo"}
    for arm, metrics in result["arms"].items():
        seeds = sum(of == arm for of, _ in FINISHED)
        for name in ("dsr", "compliance.ambiguous", "dsr.benign_hijack", "trade_off", "collapsed"):
            estimate = metrics[name]
            assert estimate["n"] == seeds, (arm, name)
            assert (estimate["low"] is None) == (estimate["high"] is None) == (seeds == 1)


def test_means_and_differences_are_those_of_the_members(study):
    lengths = {
        (m["arm"], m["seed"]): m["metrics"]["reasoning_tokens.mean"]
        for m in study.result["members"]
        if m["status"] == "finished"
    }
    for arm in ("grpo", "sear"):
        found = study.result["arms"][arm]["reasoning_tokens.mean"]
        values = [lengths[arm, 0], lengths[arm, 1]]
        assert found["mean"] == pytest.approx(statistics.mean(values))
        # t(.975, 1) = 12.7062; half width t s / sqrt(2)
        assert found["high"] - found["mean"] == pytest.approx(
            12.7062 * statistics.stdev(values) / math.sqrt(2), rel=1e-4, abs=1e-9
        )
    pairs = [lengths["sear", seed] - lengths["grpo", seed] for seed in (0, 1)]
    difference = study.result["differences"]["sear"]["reasoning_tokens.mean"]
    assert difference["mean"] == pytest.approx(statistics.mean(pairs)) and difference["n"] == 2
    assert study.result["differences"]["recap"]["dsr"]["n"] == 1  # only seed 0 has both
    assert set(study.result["against"]) == {"sft", "grpo", "recap"}  # sear − each
    assert study.result["against"]["grpo"]["reasoning_tokens.mean"] == difference


def test_data_was_prepared_once_and_warm_start_and_reward_models_trained_once_per_seed(study):
    store = study.root / ".sear" / "store"
    counts = {folder.name: len(list(folder.glob("*/entry.json"))) for folder in store.iterdir()}
    assert {name: counts[name] for name in ("prepare", "validate", "warm_start", "reward_model")} == {
        "prepare": 1, "validate": 1, "warm_start": 2 + 1, "reward_model": 2,  # one variant has its own start
    }  # fmt: skip
    assert counts["policy.sear"] == 2 and not {"evaluation.broken", "evaluation.unmade"} & set(counts)


def test_each_arm_went_the_same_way_and_was_asked_to_train_what_it_is(study):
    asked = {}
    for arm in ("grpo", "sear", "recap"):
        for path in (study.root / ".sear" / "store" / f"policy.{arm}").glob("*/entry.json"):
            section = json.loads(path.read_text())["parts"]["section"]
            if section.pop("seed") == 0:
                asked[arm] = (section.pop("credit"), section.pop("recap_share"), section)
    # nothing but these two differs between arms
    assert {arm: found[:2] for arm, found in asked.items()} == {
        "grpo": ("answer", 0.0), "sear": ("return", 0.0), "recap": ("answer", 0.5),
    }  # fmt: skip
    assert all(found[2] == asked["sear"][2] for found in asked.values())


def test_everything_lies_under_one_parent_run(study):
    parent = study.client.get_run(study.result["study_id"])
    assert parent.data.tags["sear.kind"] == "study" and parent.info.status == "FAILED"
    assert parent.data.metrics["sear.dsr"] == study.result["arms"]["sear"]["dsr"]["mean"]
    assert {"study.json", "report.html", "plots"} <= {
        item.path for item in study.client.list_artifacts(parent.info.run_id)
    }
    below = study.below(parent.info.run_id)
    members = {
        run.data.tags["mlflow.runName"]: run for run in below if run.data.tags.get("sear.kind") == "member"
    }
    assert set(members) == {member["name"] for member in study.result["members"]}
    assert {name for name, run in members.items() if run.info.status != "FINISHED"} == {
        "broken, seed 0",
        "unmade, seed 0",
    }
    stages = {run.data.tags["sear.stage"] for run in study.below(members["sear, seed 1"].info.run_id)}
    assert stages == {"policy.sear", "evaluation.sear"}
    assert members["sear, seed 1"].data.tags["seed"] == "1"
    shared = [run.data.tags["sear.stage"] for run in below if "sear.stage" in run.data.tags]
    assert sorted(shared) == sorted(
        [
            "version",
            "prepare",
            "validate",
            "warm_start",
            "warm_start",
            "warm_start",
            "reward_model",
            "reward_model",
            "study",
        ]
    )


def test_the_page_and_the_plots_are_there(study):
    report = Path(study.result["report"])
    text = report.read_text()
    assert text.startswith("<!doctype html>") and "recap" in text and "no value today" in text
    plots = {path.name for path in (report.parent / "plots").iterdir()}
    assert {"trade_off.svg", "trade_off.benign_hijack.svg", "curves.svg"} <= plots
    curves = json.loads((report.parent / "study.json").read_text())["curves"]
    assert [point["n"] for point in curves["sear"]["loss"]] == [2, 2]
    assert [point["n"] for point in curves["recap"]["loss"]] == [1, 1]


def test_a_second_call_executes_nothing_and_says_the_same(study, again):
    assert again.called.code == 1  # the broken members are tried again, and fail again
    assert again.result["stages"]["executed"] == 0
    for key in ("members", "arms", "differences", "report"):
        assert again.result[key] == study.result[key], key
    assert again.result["study_id"] != study.result["study_id"]
