"""Training that goes on after a kill ends with the very weights of training that never stopped."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from sear_core.checkpoints import MANIFEST, damage, last_checkpoint, write_manifest
from sear_core.reward_model.harm import train_harm_model
from sear_core.reward_model.helpfulness import train_helpfulness_model
from sear_core.warm_start.training import train_warm_start

TINY = {"vocab_size": 300, "hidden_size": 32, "layers": 1, "heads": 4, "max_positions": 128, "max_length": 64}
THINGS = ("box", "door of the old house", "jar", "lid", "very long and narrow box")


class StopAt(TrainerCallback):
    def __init__(self, *steps):
        self.steps = steps

    def on_step_end(self, args, state, control, **_):
        if state.global_step in self.steps:
            raise KeyboardInterrupt


def base(n):
    return [{"id": str(i), "prompt": f"open the {THINGS[i % 5]}?", "split": "train"} for i in range(n)]


def warm_start(out, **options):
    rows = [
        {**row, "reasoning": f"{i % 3} opens", "answer": "lift it", "kind": "trace"}
        for i, row in enumerate(base(32))
    ]
    return train_warm_start(rows=rows, out=out, **options)


def harm(out, **options):
    rows = [{**row, "answer": f"no {i % 4}", "label": float(i % 2)} for i, row in enumerate(base(32))]
    return train_harm_model(step_rows=[], answer_rows=rows, out=out, **options)


def helpfulness(out, **options):
    rows = [{**row, "chosen": f"yes {i % 4}", "rejected": "no"} for i, row in enumerate(base(32))]
    return train_helpfulness_model(rows=rows, out=out, **options)


def weights(out):
    (path,) = out.rglob("model.safetensors")
    return load_file(path)


# 32 rows / 8 = 4 steps an epoch; a checkpoint every 3 steps: 3 within the first epoch, 6 within the second
@pytest.mark.parametrize("train", [warm_start, harm, helpfulness])
def test_a_run_that_was_killed_twice_within_epochs_ends_as_one_that_was_not(train, tmp_path):
    options = {
        **TINY,
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "save_every": 3,
        "logging_steps": 2,
    }
    whole = train(tmp_path / "whole", **options)
    for stop in (4, 7):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "cut", **options, callbacks=[StopAt(stop)])
    again = train(tmp_path / "cut", **options)
    assert {k: v for k, v in again.items() if v == v} == {k: v for k, v in whole.items() if v == v}
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    history = [(tmp_path / name / "history.json").read_text() for name in ("whole", "cut")]
    assert history[0] == history[1]


class KilledBehindTheLast(TrainerCallback):
    def on_save(self, args, state, control, **_):
        if state.global_step == state.max_steps:
            raise KeyboardInterrupt


# .75 of 4 steps an epoch are 3; checkpoints at 2 and, the last of all, at 3; or at 3 alone
@pytest.mark.parametrize("save_every", [2, 3])
@pytest.mark.parametrize("train", [warm_start, harm, helpfulness])
def test_a_run_that_was_killed_behind_its_last_checkpoint_ends_as_one_that_was_not(
    train, save_every, tmp_path
):
    options = {**TINY, "epochs": 0.75, "batch_size": 8, "learning_rate": 1e-2, "logging_steps": 1}
    whole = train(tmp_path / "whole", **options, save_every=save_every)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", **options, save_every=save_every, callbacks=[KilledBehindTheLast()])
    again = train(tmp_path / "cut", **options, save_every=save_every)
    assert {k: v for k, v in again.items() if v == v} == {k: v for k, v in whole.items() if v == v}
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    history = [(tmp_path / name / "history.json").read_text() for name in ("whole", "cut")]
    assert history[0] == history[1]


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, caplog):
    options = {**TINY, "epochs": 3, "batch_size": 8, "learning_rate": 1e-2, "save_every": 3}
    whole = warm_start(tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        warm_start(tmp_path / "cut", **options, callbacks=[StopAt(7)])
    folder = tmp_path / "cut" / "checkpoints"
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-6"]
    optimizer = folder / "checkpoint-6" / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:-1] + b"?")
    assert warm_start(tmp_path / "cut", **options) == whole
    assert f"{folder / 'checkpoint-6'}: not gone on from: optimizer.pt has changed" in caplog.text
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def test_only_what_was_written_to_its_end_is_believed(tmp_path):
    for step in (2, 10, 9):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "state").write_text(str(step))
    (tmp_path / "checkpoint-best").mkdir()
    for step in (2, 9):
        write_manifest(tmp_path / f"checkpoint-{step}")
    assert damage(tmp_path / "checkpoint-10") == "it was not written to its end"
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-9")  # nine, not "9" < "10" as text
    (tmp_path / "checkpoint-9" / "state").unlink()
    assert damage(tmp_path / "checkpoint-9") == "state is gone"
    (tmp_path / "checkpoint-2" / MANIFEST).write_text("{")
    assert "cannot be read" in damage(tmp_path / "checkpoint-2")
    assert last_checkpoint(tmp_path) is None and last_checkpoint(tmp_path / "absent") is None
