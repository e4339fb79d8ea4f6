"""The validate stage: what comes after it hangs on the gate alone, and a version finds the one before it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sear_core.schema import TABLES, write_table
from tasks import validation
from tasks.cache import content_hash, file_hashes
from tasks.config import ValidationConfig
from tasks.drift import previous_profile, profile
from tasks.handles import PreparedData
from tasks.stage import Job, StageFailed


def _prepared(folder: Path, sha256: str, sources: tuple[str, ...] = ("s",), rows: int = 8) -> PreparedData:
    """Prepared tables of a store: evaluation and RL prompts, harmful alone where `rows` is odd."""
    (folder / "out" / "tables").mkdir(parents=True)
    for name, schema in TABLES.items():
        filled = [
            dict.fromkeys(schema.names, "")
            | {
                "id": f"{name}:{n}", "prompt": f"{name} asks {n}", "source": sources[n % len(sources)],
                "category": ("harmful", "harmless", "ambiguous")[n % 3] if rows % 2 == 0 else "harmful",
                "split": "test" if name == "evaluation" else ("train", "validation")[n % 2],
            }
            for n in range(rows if name in ("rl_prompts", "evaluation") else 0)
        ]  # fmt: skip
        write_table(filled, name, folder / "out" / "tables")
    (folder / "entry.json").write_text("{}")
    counts = ", ".join(f'{{"source": "{source}"}}' for source in sources)
    (folder / "out" / "report.json").write_text(f'{{"counts": [{counts}]}}')
    return PreparedData(path=str(folder / "out"), md5=sha256, sha256=sha256, tables={})


def _validate(root: Path, prepared: PreparedData, config: ValidationConfig) -> tuple[dict[str, Any], str]:
    """What compute returns, and the hash that later stages' keys hold."""
    stage = validation.stage(config)
    out = root / "out"
    out.mkdir(parents=True)
    done = validation.compute(
        Job(name="validate", arm="", section=stage.section, inputs={"prepare": prepared}, out=out, root=root)
    )
    return done, content_hash(file_hashes(out), stage.essential)


def test_a_warning_changes_no_key_downstream(tmp_path: Path) -> None:
    quiet, strict = ValidationConfig(min_category_share=0.2), ValidationConfig(min_category_share=0.3)
    prepared = _prepared(tmp_path / "p", "a" * 64, rows=10)  # harmful 4, harmless 3, ambiguous 3 of 10
    first, md5 = _validate(tmp_path / "1", prepared, quiet)
    loose = ValidationConfig(min_category_share=0.0, max_prompt_chars=18)
    second, other = _validate(tmp_path / "2", _prepared(tmp_path / "q", "b" * 64, rows=9), loose)
    assert (first["warnings"], second["warnings"]) == (0, 0)
    third, same = _validate(
        tmp_path / "3",
        prepared,
        strict.model_copy(update={"reference": str(tmp_path / "2/out/profile.json")}),
    )
    assert third["metrics"] == {"warnings": 0.0}  # all are drift
    assert third["warnings"] == 6  # the shares of three categories, in two tables
    assert md5 == other == same


def test_a_closed_gate_names_table_and_rows_and_keeps_the_docs(tmp_path: Path) -> None:
    prepared = _prepared(
        tmp_path / "p", "a" * 64, rows=12
    )  # of the evaluation two prompts have 18 characters
    with pytest.raises(
        StageFailed, match=r"the data gate is closed: evaluation: .* 2 rows, such as evaluation:10"
    ):
        _validate(tmp_path / "1", prepared, ValidationConfig(min_category_share=0, max_prompt_chars=17))
    assert (tmp_path / "1" / "out" / "docs" / "index.html").is_file()
    assert not (tmp_path / "1" / "out" / "gate.json").exists()


def _validated(store: Path, key: str, of: str, sources: tuple[str, ...], at: int) -> Path:
    out = store / "validate" / key / "out"
    out.mkdir(parents=True)
    rows = [{"prompt": "p", "category": "harmful", "source": source} for source in sources]
    (out / "profile.json").write_text(profile({"rl_prompts": ([], rows)}, of).model_dump_json())
    (out.parent / "entry.json").write_text("{}")
    os.utime(out.parent / "entry.json", (at, at))
    return out / "profile.json"


def test_the_version_before_is_the_newest_older_one_of_mostly_the_same_sources(tmp_path: Path) -> None:
    prepared = _prepared(tmp_path / "p", "now", sources=("a", "b", "c"))
    os.utime(tmp_path / "p" / "entry.json", (1000, 1000))
    out = Path(prepared.path)
    assert previous_profile(tmp_path, out, "now") is None
    _validated(tmp_path, "oldest", "v1", ("a", "b"), at=100)
    expected = _validated(tmp_path, "old", "v2", ("a", "b"), at=200)
    _validated(tmp_path, "another-preset", "v3", ("a", "x", "y"), at=300)  # one of five sources
    _validated(tmp_path, "itself", "now", ("a", "b", "c"), at=400)
    _validated(tmp_path, "later", "v4", ("a", "b", "c"), at=2000)
    assert previous_profile(tmp_path, out, "now") == expected


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"min_rows": {"preference": 1}}, "'preference' is no table; did you mean 'preferences'"),
        ({"category_shares": {"rl_prompt": {}}}, "'rl_prompt' is no table; did you mean 'rl_prompts'"),
        ({"category_shares": {"rl_prompts": {"rude": [0, 1]}}}, "'harmful', 'harmless' or 'ambiguous'"),
        ({"category_shares": {"rl_prompts": {"harmful": [0.5, 0.2]}}}, r"rl_prompts.harmful: \[0.5, 0.2\]"),
        ({"max_length_drift": 1.0}, "greater than 1"),
    ],
)
def test_bounds_that_cannot_be_are_refused_with_the_config(section: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ValidationConfig.model_validate(section)
