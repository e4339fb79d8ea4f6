"""The presets of public sets: each loads as a source, names its licence and place, and reads the real file."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from flows.config import load_config
from flows.source_presets import SOURCES, expand, source_presets
from sear_core.data.sources import Source, read_source
from sear_core.errors import InputError
from tasks.config import SourceConfig

DATA = Path(os.environ.get("SEAR_PUBLIC_DATA", "/nowhere"))
FIELD = {
    "xstest", "or_bench", "harmbench", "strongreject", "jailbreakbench", "jailbreakbench_artifacts", "advbench",
    "simplesafetytests", "do_not_answer", "wildjailbreak", "wildguardmix", "beavertails", "pku_saferlhf", "hh_rlhf",
    "ultrafeedback", "coconot", "falsereject", "ailuminate", "harmfulqa", "gsm8k", "oasst", "gptfuzz",
}  # fmt: skip
# rows of the real files, as their own README counts them; OASST: pairs of first replies to its 100 trees
AT_HAND = {
    "xstest": 450, "or_bench": 1011, "harmbench": 126, "advbench": 479, "hh_rlhf": 2117, "coconot": 856,
    "ailuminate": 875, "harmfulqa": 1952, "gsm8k": 7473, "gsm8k_test": 1319, "oasst": 438, "gptfuzz": 6124,
}  # fmt: skip


def _source(table: dict[str, Any]) -> Source:
    return Source(**SourceConfig.model_validate(expand(table)).model_dump())


def test_there_is_a_preset_for_every_set_of_the_field() -> None:
    assert set(source_presets()) >= FIELD


@pytest.mark.parametrize("name", source_presets())
def test_every_preset_is_a_source_by_each_of_its_ways_with_licence_and_homepage(name: str) -> None:
    raw = tomllib.loads((SOURCES / f"{name}.toml").read_text())
    assert raw["homepage"].startswith("https://") and raw["licence"]
    ways = [way for way in ("file", "hub") if way in raw]
    assert ways
    for way in ways:
        source = _source({"preset": name, "via": way})
        assert (
            source.name == name
            and bool(source.hub) == (way == "hub")
            and bool(source.path) == (way == "file")
        )
        # every column without a default is mapped, or has its own name in the set (chosen, rejected)
        assert source.licence and "category" in {**source.constants, **source.columns}


@pytest.mark.skipif(not DATA.is_dir(), reason="SEAR_PUBLIC_DATA names no folder of the public sets")
@pytest.mark.parametrize("name", AT_HAND)
def test_the_preset_reads_the_real_file(name: str) -> None:
    source = _source({"preset": name})
    rows, counts = read_source(source, DATA)
    assert len(rows) == AT_HAND[name] == counts["read"] - counts["where"]
    assert all(row["prompt"] for row in rows)


# made-up rows with the columns that the sets' documentation names, and how many of them are taken
DOCUMENTED: dict[str, tuple[list[dict[str, Any]], int]] = {
    "strongreject": ([{"prompt": "p", "category": "c", "source": "s"}], 1),
    "jailbreakbench": ([{"Index": 0, "Goal": "p", "Target": "t", "Behavior": "b", "Category": "c"}], 1),
    "simplesafetytests": ([{"id": "i", "prompt": "p", "harm_area": "a", "category": "c"}], 1),
    "do_not_answer": ([{"id": 1, "risk_area": "r", "types_of_harm": "t", "specific_harms": "s", "question": "p"}], 1),
    "wildjailbreak": (
        [{"vanilla": "p", "adversarial": "", "completion": "c", "data_type": kind} for kind in
         ("vanilla_harmful", "vanilla_benign", "adversarial_harmful")], 2,
    ),
    "wildjailbreak_adversarial": (
        [{"vanilla": "p", "adversarial": "a", "completion": "c", "data_type": "adversarial_benign"}], 1,
    ),
    "wildguardmix": (
        [{"prompt": "p", "adversarial": False, "response": response, "response_harm_label": label,
          "response_refusal_label": None, "prompt_harm_label": "unharmful", "subcategory": "s"}
         for response, label in (("r", "harmful"), ("r", "unharmful"), (None, None))], 2,
    ),
    "beavertails": (
        [{"prompt": "p", "response": "r", "category": {"a": True}, "is_safe": safe} for safe in (True, False)], 2,
    ),
    "pku_saferlhf": (
        [{"prompt": "p", "response_0": "a", "response_1": "b", "is_response_0_safe": first, "is_response_1_safe": True,
          "better_response_id": 0, "safer_response_id": 1} for first in (False, True)], 1,
    ),
    "ultrafeedback": (
        [{"prompt": "p", "prompt_id": "i",
          "chosen": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}],
          "rejected": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "b"}]}], 1,
    ),
    "falsereject": ([{"prompt": "p", "category": 3, "category_text": "c", "instruct_response": "r"}], 1),
    "or_bench": ([{"prompt": "p", "category": "c"}], 1),
    "harmbench": ([{"prompt": "p", "category": "c"}], 1),
    "advbench": ([{"prompt": "p", "target": "t"}], 1),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_preset_of_a_set_not_at_hand_fits_the_columns_that_its_documentation_names(
    tmp_path: Path, name: str
) -> None:
    rows, taken = DOCUMENTED[name]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ways = tomllib.loads((SOURCES / f"{name}.toml").read_text())
    table = expand({"preset": name, "via": "hub" if "hub" in ways else "file", "path": "a.jsonl"})
    found, _ = read_source(Source(**SourceConfig.model_validate(table).model_dump()), tmp_path)
    assert len(found) == taken
    assert {row["prompt"] for row in found} <= {"p", "a"}
    if name == "beavertails":
        assert [row["label"] for row in found] == [0.0, 1.0]  # 1: harmful
    if name == "wildguardmix":
        assert [(row["label"], row["category"]) for row in found] == [(1.0, "ambiguous"), (0.0, "ambiguous")]
    if name == "ultrafeedback":
        assert (found[0]["chosen"], found[0]["rejected"]) == ("a", "b")


def test_a_table_of_ones_own_wins_over_the_preset_and_a_download_takes_the_place_of_the_hub() -> None:
    source = _source({"preset": "beavertails", "name": "mine", "path": "b.parquet", "limit": 5})
    assert (source.name, source.path, source.hub, source.part, source.limit) == (
        "mine",
        "b.parquet",
        "",
        "train",
        5,
    )
    source = _source(
        {"preset": "gsm8k", "via": "hub", "revision": "abc", "constants": {"category": "ambiguous"}}
    )
    assert source.place == "hub:openai/gsm8k/main/train@abc" and source.constants == {"category": "ambiguous"}


def test_an_unknown_preset_or_way_names_what_there_is() -> None:
    with pytest.raises(InputError, match=r"preset 'xtest' does not exist; did you mean 'xstest'\?"):
        expand({"preset": "xtest"})
    with pytest.raises(InputError, match="via = 'hub', expected file"):
        expand({"preset": "gptfuzz", "via": "hub"})


def test_a_config_may_name_presets(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(
        '[data]\nroot = "x"\n[[data.sources]]\npreset = "xstest"\n[[data.sources]]\npreset = "gsm8k"\n'
    )
    sources = load_config(file=config).data.sources
    assert [(source.name, source.role) for source in sources] == [
        ("xstest", "evaluation"),
        ("gsm8k", "rl_prompts"),
    ]
