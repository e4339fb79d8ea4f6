"""A study that was run in parts: benchmarks/study_tables.py pools them and prints the tables of docs/results.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import study_tables


def part(path: Path, seeds: dict[int, float], **more: object) -> Path:
    """study.json of `sear` and `grpo`: DSR of `sear` by seed, .5 of `grpo`; ambiguous .75 of both."""
    members = [
        {"arm": arm, "seed": seed, "share": 0.33, "status": "finished",
         "metrics": {"dsr": dsr, "dsr.low": 0.0, "compliance.ambiguous": 0.75, "compliance.harmless": 0.4, **more}}
        for seed, sear in seeds.items() for arm, dsr in (("grpo", 0.5), ("sear", sear))
    ]  # fmt: skip
    members.append({"arm": "sear", "seed": 99, "share": 0.33, "status": "failed", "metrics": {}})
    path.write_text(json.dumps({"members": members}))
    return path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["study_tables.py", *map(str, arguments)])
    return study_tables.main()


def test_parts_are_one_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [part(tmp_path / "1.json", {0: 0.6, 1: 0.7}), part(tmp_path / "2.json", {1: 0.7, 2: 0.8})]
    assert (
        call(
            monkeypatch,
            *parts,
            "--csv",
            tmp_path / "m.csv",
            "--plots",
            tmp_path,
            "--seeds-of",
            "sear",
        )
        == 0
    )
    printed = capsys.readouterr().out
    # .6, .7, .8: mean .7, s = .1, t(.975, 2) = 4.303, so ± .248; the failed member is left out
    assert "| `sear` | 3 | 0.70 [0.45, 0.95] | 0.40 [0.40, 0.40] | 0.75 [0.75, 0.75] |" in printed
    assert "| `sear` | 3 | +0.20 [-0.05, +0.45] |" in printed  # − grpo, by seed
    assert "| `sear` | 3 |" in printed and "| 3 |\n" in printed  # all three collapsed: harmless .4
    assert "| `sear`, seed | 0 | 1 | 2 |" in printed and "| dsr | 0.60 | 0.70 | 0.80 |" in printed
    assert (tmp_path / "trade_off.svg").read_text().startswith("<svg")
    assert call(monkeypatch, tmp_path / "m.csv", "--seeds-of", "sear") == 0
    assert capsys.readouterr().out == printed, "a CSV holds all that the tables are made of"
    assert call(monkeypatch, tmp_path / "m.csv", "--seeds", 0, 1) == 0
    assert "| `sear` | 2 | +0.15 " in capsys.readouterr().out


def test_parts_that_disagree_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [part(tmp_path / "1.json", {0: 0.6}), part(tmp_path / "2.json", {0: 0.61})]
    assert call(monkeypatch, *parts) == 1
    assert capsys.readouterr().err == "sear, seed 0, share 0.33: not the same in all parts\n"
