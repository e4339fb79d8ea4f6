"""The paper-scale preset: it loads, plans, and runs on a tiny random Qwen2 directory.

Only the model's path and size, precision, step counts and vLLM differ from the preset (`TINY`); LoRA, the
accelerate launcher, chat template, tokenizer type, arms, batch shapes and learning rates stay. The reward
models' gate and the least row counts are off: a random model learns nothing from a few made-up rows.
"""

from __future__ import annotations

import csv
import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flows.config import load_config
from sear_core.schema import TABLES

ROWS = 24
WORDS = (  # noqa: SIM905
    "amber basil cedar delta ember fable grove harbor island juniper kettle lantern meadow nectar orchard "
    "pebble quartz ribbon saddle timber umbrella velvet willow yarrow zephyr acorn bramble clover dune easel"
).split()


def text(seed: object, words: int = 9) -> str:
    return " ".join(random.Random(str(seed)).choices(WORDS, k=words))


def put(row: dict, dotted: str, value: Any) -> None:
    """row["a"][0]["b"] = value for "a.0.b", unless it is there."""
    path = dotted.split(".")
    node: Any = row
    for part, below in pairwise(path):
        fresh: Any = [{}] if below.isdigit() else {}
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, fresh)
    node.setdefault(path[-1], value)


def fill(row: dict[str, Any], source: Any, number: int) -> None:
    """Give a row neutral made-up values in every column that the source's mapping reads."""
    for column, kept in source.where.items():
        put(row, column, kept[number % len(kept)])
    for column, values in source.values.items():
        put(row, source.columns[column], list(values)[number % len(values)])
    for template in source.templates.values():
        for part in template.split("{")[1:]:
            name = part.partition("}")[0]
            put(row, name, text((source.path, number, name)))
    needed = {
        "preferences": ("chosen", "rejected"),
        "answer_labels": ("answer", "label"),
        "warm_start": ("answer",),
    }
    for column in ("prompt", *needed.get(source.role, ()), *source.columns):
        if column not in {*source.templates, *source.constants}:
            name = source.columns.get(column, column)
            made = {"id": str(number), "label": number % 2}.get(column, text((source.path, number, name)))
            put(row, name, made)


def tree(number: int) -> dict[str, Any]:
    replies = [
        {"text": text(("reply", number, rank)), "role": "assistant", "rank": rank} for rank in range(2)
    ]
    return {
        "message_tree_id": str(number),
        "prompt": {"text": text(("tree", number)), "lang": "en", "replies": replies},
    }


def dialogue(number: int) -> dict[str, Any]:
    start = f"\n\nHuman: {text(('dialogue', number))}\n\nAssistant: "
    return {side: start + text((side, number)) for side in ("chosen", "rejected")}


def miniature(root: Path) -> Path:
    """Every file that the public preset names, with made-up rows."""
    files: dict[str, list[dict]] = {}
    for source in load_config("qwen2.5-1.5b").data.sources:
        rows = files.setdefault(source.path, [{} for _ in range(ROWS)])
        for number, row in enumerate(rows):
            whole = {"oasst_trees": tree, "hh_dialogues": dialogue}.get(source.reader)
            if whole:
                row.update(whole(number))
            else:
                fill(row, source, number)
    for name, rows in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


TINY = {
    # size
    "warm_start.max_length": 256, "reward_model.harm.max_length": 256,
    "reward_model.helpfulness.max_length": 256,
    "policy.max_completion_length": 24, "evaluation.max_new_tokens": 24, "evaluation.limit": 6,
    "policy.max_prompt_length": 256, **{f"validation.min_rows.{table}": 1 for table in TABLES},
    # precision
    "warm_start.model.dtype": "float32", "reward_model.model.dtype": "float32", "warm_start.bf16": False,
    "reward_model.harm.bf16": False, "reward_model.helpfulness.bf16": False, "policy.bf16": False,
    # step counts
    "warm_start.epochs": 0.2, "reward_model.harm.epochs": 0.5, "reward_model.helpfulness.epochs": 0.5,
    "policy.updates": 2, "policy.save_every": 1, "policy.reasoning_weight_ramp": 1,
    "policy.vllm": False,
    "reward_model.gate": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory, build_qwen2_directory) -> list[str]:
    """`--preset …  --set …` for the miniature."""
    folder = tmp_path_factory.mktemp("qwen")
    model = build_qwen2_directory(folder / "model", [text(i, 12) for i in range(300)])
    own = {
        "data.root": miniature(folder / "data"), "warm_start.model.path": model,
        "reward_model.model.path": model,
    }  # fmt: skip
    found = ["--preset", "qwen2.5-1.5b"]
    for key, value in {**own, **TINY}.items():
        found += ["--set", f"{key}={json.dumps(value, default=str)}"]
    return found


def test_the_preset_is_the_recipe_that_it_says():
    config = load_config("qwen2.5-1.5b")
    assert config.launcher == "accelerate" and config.policy.vllm and config.policy.bf16
    assert config.warm_start.model.path == config.reward_model.model.path == "Qwen/Qwen2.5-1.5B-Instruct"
    assert config.warm_start.lora and config.reward_model.lora and config.policy.lora
    assert (config.warm_start.epochs, config.warm_start.learning_rate) == (3, 3e-5)  # TARS
    assert config.warm_start.batch_size * config.warm_start.gradient_accumulation == 16  # TARS
    policy = config.policy
    assert (policy.group_size, policy.beta, policy.entropy_coef, policy.temperature) == (8, 1e-3, 1e-3, 0.6)
    assert policy.updates * policy.prompts_per_update == pytest.approx(3 * 2000, rel=0.01)  # 3 epochs


def test_the_preset_plans_with_the_models_hub_name(monkeypatch, tmp_path, settings):
    from flows.plan import plan
    from tasks.workspace import Workspace

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = settings[3]
    stages = plan(load_config("qwen2.5-1.5b", sets=[root]), Workspace(tmp_path))["stages"]
    assert [stage["reason"] for stage in stages[:2]] == ["never run", "waits for version"]
    assert len(stages) == 14 and list(tmp_path.iterdir()) == []


@pytest.mark.slow  # seven launches of accelerate
@pytest.mark.timeout(1200)
def test_the_preset_runs_on_a_tiny_qwen2_directory(settings, workspace, run_sear):
    called = run_sear(workspace, "run", *settings, "--json", timeout=1100)
    assert called.code == 0, called.err[-6000:]
    assert set(called.json["arms"]) == {"sft", "grpo", "sear"}
    assert not any(stage["cached"] for stage in called.json["stages"])
    for stage in ("warm_start", "policy.sear"):
        (folder,) = (workspace / ".sear" / "store" / stage).glob("*/out/model")
        config = json.loads((folder / "config.json").read_text())
        assert config["model_type"] == "qwen2"
        assert not list(folder.glob("adapter*"))  # LoRA is merged
        tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
        assert (
            tokenizer["tokenizer_class"].startswith("Qwen2Tokenizer")
            and tokenizer["eos_token"] == "<|im_end|>"
        )
        assert "<|im_start|>" in _chat_template(folder)


def _chat_template(folder: Path) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text()
    return json.loads((folder / "tokenizer_config.json").read_text())["chat_template"]


@pytest.mark.slow  # the reward models once more, with their gate on
@pytest.mark.timeout(600)
def test_a_closed_gate_in_a_child_process_is_told_in_one_paragraph(settings, workspace, run_sear):
    sets = [*settings, "--set", "reward_model.gate=true", "--set", "launcher=process"]
    called = run_sear(workspace, "run", *sets, "--until", "reward_model", "--json")
    assert (called.code, called.out) == (1, ""), called.err[-6000:]
    last = called.err.strip().splitlines()[-1]
    assert last.startswith("failed: the reward models are not good enough to train a policy with: ")
    assert "Traceback" not in called.err
