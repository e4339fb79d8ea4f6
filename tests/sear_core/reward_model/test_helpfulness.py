import json

import pytest
import torch

from sear_core.errors import InputError
from sear_core.loading import load_tokenizer
from sear_core.reward_model.helpfulness import HelpfulnessModel, train_helpfulness_model

TINY = {"vocab_size": 320, "hidden_size": 32, "layers": 2, "heads": 4, "max_positions": 128, "max_length": 64}


def _rows(n: int) -> list[dict]:
    return [
        {"id": str(i), "prompt": f"how to open box {i % 9}?", "split": "train" if i % 4 else "validation",
         "chosen": f"lift the lid {i % 3}", "rejected": f"no, I refuse {i % 3}"}
        for i in range(n)
    ]  # fmt: skip


def _train(out, n=48, **options):
    settings = {**TINY, "epochs": 6, "batch_size": 8, "learning_rate": 1e-2, **options}
    return train_helpfulness_model(rows=_rows(n), out=out, **settings)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rm") / "helpfulness"
    return folder, _train(folder)


def test_held_out_pairs_are_ordered(trained):
    _, metrics = trained
    assert metrics["pairs.n"] == 12
    assert metrics["pairs.accuracy"] == 1.0
    assert metrics["pairs.margin"] > 1


def test_the_temperature_is_kept_with_the_model_and_divides_its_scores(trained):
    folder, metrics = trained
    settings = json.loads((folder / "reward_model.json").read_text())
    assert (
        settings["temperature"] == metrics["pairs.temperature"] == 1.0
    )  # all pairs right: nothing to soften
    bins = json.loads((folder / "calibration.json").read_text())["pairs"]
    assert sum(row["count"] for row in bins) == 6  # every second of the 12 held-out pairs
    plain = HelpfulnessModel.load(folder, device="cpu")
    softer = HelpfulnessModel.load(folder, device="cpu")
    softer.temperature = 2.0
    asked = (["how to open box 1?"], ["lift the lid 1"])
    assert softer.score(*asked)[0] == pytest.approx(plain.score(*asked)[0] / 2)


def test_the_loaded_model_scores_in_the_order_given(trained):
    model = HelpfulnessModel.load(trained[0], device="cpu")
    prompts, answers = ["how to open box 1?"] * 3, ["lift the lid 1", "no, I refuse 1", "lift the lid 1"]
    good, bad, again = model.score(prompts, answers)
    assert good > bad
    assert good == pytest.approx(again, abs=1e-6)
    alone = [model.score([p], [a])[0] for p, a in zip(prompts, answers, strict=True)]
    assert alone == pytest.approx([good, bad, again], abs=1e-5)


def test_odd_texts_are_scored(trained):
    model = HelpfulnessModel.load(trained[0], device="cpu")
    assert model.score([], []) == []
    scores = model.score(["", "\ud800", "x " * 500], ["", "\udfff", "y " * 500])
    assert torch.isfinite(torch.tensor(scores)).all()


def test_lora_on_a_given_model(tmp_path, build_qwen2_directory):
    start = build_qwen2_directory(tmp_path / "qwen", ["lift the lid", "no, I refuse"], vocab_size=300)
    lora = {"r": 4, "alpha": 8, "dropout": 0.0, "target_modules": "all-linear"}
    metrics = _train(tmp_path / "rm", n=8, epochs=1, model_path=str(start), lora=lora, max_length=256)
    assert metrics["train_rows"] == 6
    assert load_tokenizer(str(tmp_path / "rm")).eos_token == "<|im_end|>"


def test_a_directory_of_another_kind_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no reward_model\.json"):
        HelpfulnessModel.load(tmp_path)
