import json

import pytest
import torch
from transformers import TrainerCallback

from sear_core.chat_format import render_completion, render_prompt
from sear_core.errors import InputError
from sear_core.loading import load_causal_lm, load_tokenizer
from sear_core.tiny_model import build_tokenizer
from sear_core.warm_start.training import IGNORED, encode_rows, train_warm_start

TINY = {"vocab_size": 300, "hidden_size": 32, "layers": 2, "heads": 4, "max_positions": 128, "max_length": 96}


def _rows(n: int) -> list[dict]:
    things = ("box", "door", "jar", "lid")
    return [
        {"id": str(i), "prompt": f"open the {things[i % 4]}?", "split": "train" if i % 5 else "validation",
         "reasoning": f"a {things[i % 4]} opens", "answer": "lift it", "kind": "fact" if i % 3 else "trace"}
        for i in range(n)
    ]  # fmt: skip


def _train(tmp_path, name="out", rows=None, **options):
    settings = {**TINY, "epochs": 2, "batch_size": 8, "learning_rate": 3e-3, "logging_steps": 1, **options}
    return train_warm_start(rows=rows or _rows(40), out=tmp_path / name, **settings)


def _weights(folder):
    return load_causal_lm(str(folder / "model")).state_dict()


def test_only_the_completion_carries_loss_and_ends_with_one_eos():
    row = _rows(1)[0]
    tokenizer = build_tokenizer([row["prompt"]], 300)
    examples, cut = encode_rows([row], tokenizer, 96)
    ids, labels = examples[0]["input_ids"], examples[0]["labels"]
    prompt = len(tokenizer(render_prompt(tokenizer, row["prompt"]))["input_ids"])
    assert cut == 0
    assert labels == [IGNORED] * prompt + ids[prompt:]
    assert tokenizer.decode(ids[prompt:]) == render_completion(row["reasoning"], row["answer"], "<|end|>")
    assert ids.count(tokenizer.eos_token_id) == 2  # the user's turn, and the completion's end


def test_a_long_row_is_cut_and_counted_and_a_prompt_without_room_is_left_out():
    rows = [_rows(1)[0], {**_rows(1)[0], "answer": "x " * 200}, {**_rows(1)[0], "prompt": "y " * 200}]
    examples, cut = encode_rows(rows, build_tokenizer(["a"], 300), 96)
    assert cut == 2
    assert [len(e["input_ids"]) <= 96 for e in examples] == [True, True]


def test_training_learns_and_writes_an_ordinary_model_directory(tmp_path, capsys):
    metrics = _train(tmp_path, epochs=15, learning_rate=1e-2)
    losses = [e["loss"] for e in json.loads((tmp_path / "out" / "history.json").read_text()) if "loss" in e]
    assert losses[0] > 4 > 1.5 > losses[-1]  # from log(300) = 5.7
    assert metrics["train_rows"] == 32
    assert metrics["eval_loss"] < 1.5
    assert metrics["truncated_rows"] == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["history.json", "model"]
    assert capsys.readouterr().out == ""  # standard output is for results
    tokenizer, model = (load(str(tmp_path / "out" / "model")) for load in (load_tokenizer, load_causal_lm))
    inputs = tokenizer(render_prompt(tokenizer, "open the jar?"), return_tensors="pt")
    out = model.generate(**inputs, max_new_tokens=40, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    thing, rest = tokenizer.decode(out).removeprefix("a ").split(" ", 1)
    assert thing in ("box", "door", "jar", "lid")
    assert rest == "opens\n</think>\nlift it<|end|>"


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    metrics = [_train(tmp_path, name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    files = [
        {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*") if p.is_file()}
        for n in "abc"
    ]
    assert metrics[0] == metrics[1] != metrics[2]
    assert files[0] == files[1] != files[2]


class _StopAfterFirstEpoch(TrainerCallback):
    def on_save(self, args, state, control, **kwargs):
        raise KeyboardInterrupt


def test_an_interrupted_run_resumes_to_the_same_weights(tmp_path):
    whole = _train(tmp_path, "whole")
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path, "cut", callbacks=[_StopAfterFirstEpoch()])
    assert (tmp_path / "cut" / "checkpoints" / "checkpoint-4").is_dir()  # 32 rows / 8
    assert _train(tmp_path, "cut") == whole
    for name, weight in _weights(tmp_path / "whole").items():
        assert torch.equal(weight, _weights(tmp_path / "cut")[name]), name


def test_lora_is_merged_on_saving_and_a_given_model_is_the_start(tmp_path, build_qwen2_directory):
    start = build_qwen2_directory(tmp_path / "qwen", [row["prompt"] for row in _rows(4)], vocab_size=300)
    lora = {"r": 4, "alpha": 8, "dropout": 0.0, "target_modules": "all-linear"}
    metrics = _train(tmp_path, model_path=str(start), lora=lora, max_length=256)
    before, after = load_causal_lm(str(start)).state_dict(), _weights(tmp_path / "out")
    assert metrics["parameters"] == load_causal_lm(str(start)).num_parameters()
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {
        name for name in before if name.endswith("_proj.weight")
    }  # every linear layer, nothing else


def test_without_training_the_model_is_saved_as_it_is(tmp_path):
    metrics = _train(tmp_path, train=False)
    assert metrics == {"parameters": float(load_causal_lm(str(tmp_path / "out" / "model")).num_parameters())}


def test_rows_that_cannot_be_trained_on_are_named(tmp_path):
    with pytest.raises(InputError, match="row 0 has split 'test'"):
        _train(tmp_path, rows=[{**_rows(1)[0], "split": "test"}])
    with pytest.raises(InputError, match="no row of split 'train'"):
        _train(tmp_path, rows=[{**_rows(1)[0], "split": "validation"}])
    with pytest.raises(InputError, match="longer than max_length 8"):
        _train(tmp_path, max_length=8)
