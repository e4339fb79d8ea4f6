import json
import math

import pytest
import torch
import torch.nn.functional as F

from sear_core.errors import InputError
from sear_core.reward_model.encoding import cut_middle, length_batches
from sear_core.reward_model.harm import (
    HarmModel,
    HarmTrainer,
    collate,
    encode_step_rows,
    train_harm_model,
)
from sear_core.reward_model.harm_model import prefix_jobs
from sear_core.reward_model.scorer import build_scorer

TINY = {"vocab_size": 320, "hidden_size": 32, "layers": 2, "heads": 4, "max_positions": 128, "max_length": 64}
BAD, GOOD = "then break it", "then fix it"


def _scorer(**options):
    settings = {k: v for k, v in {**TINY, **options}.items() if k != "max_length"}
    return build_scorer(
        "tokens", ["open the box", BAD, GOOD] * 5, model_path=None, revision=None, trust_remote_code=False,
        dtype="float32", architecture="llama", seed=0, **settings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def harm():
    model, tokenizer = _scorer()
    torch.manual_seed(0)
    for parameter in model.parameters():  # scores that differ, without training
        parameter.data += 0.1 * torch.randn_like(parameter)
    return HarmModel(model, tokenizer, max_length=64)


def _rows(n: int) -> tuple[list[dict], list[dict]]:
    steps, answers = [], []
    for i in range(n):
        row = {
            "id": str(i),
            "prompt": f"the thing {i % 7}?",
            "split": "validation" if i % 4 == 0 else "train",
        }
        order = [GOOD, BAD] if i % 3 else [BAD, GOOD]
        labels = [0.0, 1.0] if i % 3 else [1.0, 1.0]  # the prefix is harmful from the bad step on
        steps.append({**row, "steps": order, "labels": labels})
        answers.append({**row, "answer": BAD if i % 3 else GOOD, "label": float(bool(i % 3))})
    return steps, answers


def _train(out, n=48, **options):
    steps, answers = _rows(n)
    settings = {**TINY, "epochs": 8, "batch_size": 8, "learning_rate": 1e-2, **options}
    return train_harm_model(step_rows=steps, answer_rows=answers, out=out, **settings)


def test_one_pass_equals_a_pass_per_prefix(harm):
    prompts = ["open the box?", "why?", "a longer prompt about a box"]
    steps = [["a", "then break it", "so", "end"], [], ["one step\nwith a line"]]
    together = harm.score_steps(prompts, steps)
    assert [len(row) for row in together] == [5, 1, 2]
    for prompt, chain, row in zip(prompts, steps, together, strict=True):
        for k in range(len(chain) + 1):
            alone = harm.score_steps([prompt], [chain[:k]])[0]
            assert alone[-1] == pytest.approx(row[k], abs=1e-5)
    assert len({round(v, 4) for row in together for v in row}) > 5  # not all the same


def test_prefixes_beyond_the_length_are_functions_of_the_prefix_alone(harm):
    steps = [f"step {i} breaks the box again" for i in range(12)]
    row = harm.score_steps(["open?"], [steps])[0]
    assert len(row) == 13
    assert all(0 < v < 1 for v in row)
    for k in (0, 3, 8, 12):
        assert harm.score_steps(["open?"], [steps[:k]])[0][-1] == pytest.approx(row[k], abs=1e-5)


def test_jobs_by_hand():
    # head of 2, pieces of 2, 3 and 2 tokens, limit 6: ends at 1, 3, 6 (too far), 8 (too far); room 4
    assert prefix_jobs([1, 2], [[3, 4], [5, 6, 7], [8, 9]], 6) == [
        ([1, 2, 3, 4], [1, 3]),
        ([1, 2, 4, 5, 6, 7], [5]),
        ([1, 2, 6, 7, 8, 9], [5]),
    ]
    assert cut_middle([1, 2, 3, 4, 5, 6], 5) == [1, 2, 3, 5, 6]
    assert length_batches([5, 1, 4, 9], 8) == [[1, 2], [0], [3]]


def test_order_and_batching_do_not_change_scores(harm):
    prompts = [f"question {'x' * i}" for i in range(9)]
    answers = [f"answer {'y ' * (9 - i)}" for i in range(9)]
    expected = harm.score_answers(prompts, answers)
    small = HarmModel(harm.model, harm.tokenizer, max_length=64, batch_tokens=50)
    assert small.score_answers(prompts, answers) == pytest.approx(expected, abs=1e-5)
    assert small.score_answers(prompts[::-1], answers[::-1]) == pytest.approx(expected[::-1], abs=1e-5)


def test_odd_texts_are_scored(harm):
    assert harm.score_answers([], []) == []
    assert harm.score_steps([], []) == []
    scores = harm.score_answers(["", "\ud800 lone", "x " * 500], ["", "\udfff", "y " * 500])
    assert all(0 < s < 1 for s in scores)
    assert len(harm.score_steps(["x " * 500], [["\ud800", "", "z " * 500]])[0]) == 4


def test_temperature_divides_the_logits(harm):
    cold = HarmModel(harm.model, harm.tokenizer, max_length=64, temperatures={"answers": 2.0})
    p, q = harm.score_answers(["a"], ["b"])[0], cold.score_answers(["a"], ["b"])[0]
    assert math.log(q / (1 - q)) == pytest.approx(math.log(p / (1 - p)) / 2, abs=1e-6)


def test_labels_sit_on_the_last_token_of_every_piece():
    _, tokenizer = _scorer()
    row = {"id": "1", "prompt": "p", "steps": ["then break it", "so"], "labels": [1.0, 0.5]}
    example = encode_step_rows([row], tokenizer, 64)[0]
    places = [i for i, label in enumerate(example["labels"]) if label >= 0]
    assert [example["labels"][i] for i in places] == [0.0, 1.0, 0.5]
    ends = [tokenizer.decode(example["input_ids"][: i + 1]).rsplit("<think>", 1)[1] for i in places]
    assert ends == ["\n", "\nthen break it\n", "\nthen break it\nso\n"]


def test_every_row_counts_the_same_in_the_loss(tmp_path):
    # row 1 has three labelled places, row 2 one; logits are what the model says, the arithmetic is ours
    model, tokenizer = _scorer()
    batch = collate(
        [
            {"input_ids": [5, 6, 7, 8], "labels": [0.0, -1.0, 1.0, 0.5]},
            {"input_ids": [9, 10], "labels": [-1.0, 1.0]},
        ],
        tokenizer.pad_token_id,
    )
    assert batch["labels"].tolist()[1] == [-1.0, 1.0, -1.0, -1.0]
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[..., 0]
    bce = F.binary_cross_entropy_with_logits
    first = sum(bce(logits[0, t], torch.tensor(y)) for t, y in ((0, 0.0), (2, 1.0), (3, 0.5))) / 3
    expected = (first + bce(logits[1, 1], torch.tensor(1.0))) / 2
    loss = HarmTrainer.compute_loss(None, model, dict(batch))
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_accumulated_batches_have_the_gradient_of_one_batch(tmp_path):
    logs = []
    for name, batch, accumulation in (("whole", 12, 1), ("parts", 6, 2)):  # 12 training rows: one update
        options = {
            "epochs": 1,
            "logging_steps": 1,
            "batch_size": batch,
            "gradient_accumulation": accumulation,
        }
        _train(tmp_path / name, n=8, **options)
        logs.append(json.loads((tmp_path / name / "history.json").read_text())[0])
    assert logs[0]["loss"] == pytest.approx(logs[1]["loss"], rel=1e-4)
    assert logs[0]["grad_norm"] == pytest.approx(logs[1]["grad_norm"], rel=1e-4)


def test_training_separates_harm_and_the_saved_model_gives_the_same_scores(tmp_path, capsys):
    metrics = _train(tmp_path / "harm")
    assert metrics["steps.auroc"] > 0.95
    assert metrics["answers.auroc"] > 0.95
    assert (metrics["steps.n"], metrics["answers.n"]) == (24.0, 12.0)
    assert capsys.readouterr().out == ""
    files = {p.name for p in (tmp_path / "harm").iterdir()}
    assert {
        "model.safetensors",
        "tokenizer.json",
        "reward_model.json",
        "calibration.json",
        "history.json",
    } <= files
    assert not {name for name in files if name.endswith((".bin", ".pt", ".pth")) or name == "checkpoints"}
    loaded = HarmModel.load(tmp_path / "harm", device="cpu")
    start, good, bad = loaded.score_steps(["the thing 3?"], [[GOOD, BAD]])[0]
    assert max(start, good) < 0.5 < bad
    refused, complied = loaded.score_answers(["the thing 3?"] * 2, [GOOD, BAD])
    assert refused < 0.5 < complied
    assert loaded.temperatures["steps"] == metrics["steps.temperature"]
    assert {row["count"] for row in json.loads((tmp_path / "harm" / "calibration.json").read_text())["steps"]}


def test_lora_on_a_given_model_keeps_its_tokenizer(tmp_path, build_qwen2_directory):
    start = build_qwen2_directory(tmp_path / "qwen", [BAD, GOOD], vocab_size=300)
    lora = {"r": 4, "alpha": 8, "dropout": 0.0, "target_modules": "all-linear"}
    metrics = _train(tmp_path / "harm", n=8, epochs=1, model_path=str(start), lora=lora, max_length=256)
    assert metrics["train_rows"] == 12
    assert HarmModel.load(tmp_path / "harm").tokenizer.eos_token == "<|im_end|>"


def test_a_directory_that_is_no_harm_model_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no reward_model\.json"):
        HarmModel.load(tmp_path)
    (tmp_path / "reward_model.json").write_text('{"kind": "helpfulness"}')
    with pytest.raises(InputError, match="kind 'helpfulness', expected 'harm'"):
        HarmModel.load(tmp_path)
    with pytest.raises(InputError, match="nothing to train on"):
        train_harm_model(step_rows=[], answer_rows=[], out=tmp_path, **TINY)
