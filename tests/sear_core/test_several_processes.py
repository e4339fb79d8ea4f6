"""Two processes (accelerate, gloo, CPU) that share the rows of warm start and reward models, against one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import debug_launcher
from accelerate.state import AcceleratorState

from sear_core.errors import InputError
from sear_core.reward_model.harm import train_harm_model
from sear_core.reward_model.helpfulness import train_helpfulness_model
from sear_core.trainer_tools import shared
from sear_core.warm_start.training import train_warm_start

OPTIONS = {
    "vocab_size": 320, "hidden_size": 32, "layers": 2, "heads": 4, "max_positions": 128, "max_length": 96,
    "epochs": 2, "batch_size": 8, "logging_steps": 1, "learning_rate": 3e-3,
}  # fmt: skip


def _row(i: int) -> dict:
    """48 of 64 train: whole batches of 8. Lengths differ, since the rows are grouped by them."""
    return {
        "id": str(i),
        "prompt": f"open the box {'now ' * (i % 7)}?",
        "split": "train" if i % 4 else "validation",
    }


def warm_start(out: Path) -> None:
    rows = [
        {**_row(i), "reasoning": "a box opens. " * (1 + i % 5), "answer": "lift it", "kind": "trace"}
        for i in range(64)
    ]
    train_warm_start(rows=rows, out=out, **OPTIONS)


def harm(out: Path) -> None:
    steps = [{**_row(i), "steps": ["then fix it", "then break it"][:: 1 if i % 3 else -1],
              "labels": [float(i % 3 == 0), 1.0]} for i in range(64)]  # fmt: skip
    answers = [
        {**_row(i), "answer": "break it" if i % 3 else "fix it", "label": float(bool(i % 3))}
        for i in range(64)
    ]
    train_harm_model(step_rows=steps, answer_rows=answers, out=out, **OPTIONS)


def helpfulness(out: Path) -> None:
    rows = [
        {**_row(i), "chosen": f"lift the lid {i % 3}", "rejected": f"no, I refuse {i % 3}"} for i in range(64)
    ]
    train_helpfulness_model(rows=rows, out=out, **OPTIONS)


def one_of_two(train: Callable[[Path], None], out: Path) -> None:
    torch.set_num_threads(1)
    AcceleratorState._reset_state(reset_partial_state=True)  # the parent's: a single process
    train(out)


@pytest.mark.parametrize("train", [warm_start, harm, helpfulness])
def test_two_processes_have_the_loss_curve_of_one(train, tmp_path):
    debug_launcher(one_of_two, args=(train, tmp_path / "two"), num_processes=2)
    train(tmp_path / "one")
    one, two = (
        [
            entry["loss"]
            for entry in json.loads((tmp_path / name / "history.json").read_text())
            if "loss" in entry
        ]
        for name in ("one", "two")
    )
    assert len(one) >= 12  # 48 rows or more, twice, in eights
    assert one[-1] < 0.95 * one[0]
    assert two == pytest.approx(one, rel=2e-3)


def test_an_optimiser_step_has_the_same_rows_however_many_share_them(monkeypatch):
    found = {}
    for processes in (1, 2, 8, 16):
        monkeypatch.setenv("WORLD_SIZE", str(processes))
        found[processes] = shared(4, 4)
    assert found == {1: (4, 4), 2: (4, 2), 8: (2, 1), 16: (1, 1)}
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert shared(32, 3) == (32, 1)
    with pytest.raises(
        InputError, match="batch_size 4 × gradient_accumulation 4 cannot be shared evenly by 3 processes"
    ):
        shared(4, 4)
