"""Prepared tables: the same bytes everywhere, no evaluation prompt in training, every removal told."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tomllib
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sear_core.data.corpus import write_sources
from sear_core.data.dedup import canonical, normalise
from sear_core.data.preparation import prepare, table_hash
from sear_core.data.sources import Source
from sear_core.data.splits import mix
from sear_core.errors import InputError
from sear_core.schema import TABLES, read_table
from sear_core.warm_start.traces import REFUSALS
from tasks.config import SourceConfig

PROJECT = Path(__file__).parents[3]
DEMO = tomllib.loads((PROJECT / "flows" / "presets" / "demo.toml").read_text())["data"]["sources"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_sources(root / "embedded")
    return root


@pytest.fixture(scope="module")
def prepared(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared")
    prepare(root=corpus, sources=[Source(**source) for source in DEMO], out=out, near_duplicates=False)
    return out


def _prepare(tmp_path: Path, files: dict[str, list[dict[str, Any]]], **options: Any) -> tuple[Path, Any]:
    """Prepare sources named after their tables (`table` or `table-x`), written as JSONL."""
    root, out = tmp_path / "root", tmp_path / "out"
    root.mkdir(parents=True)
    out.mkdir()
    sources = options.pop("sources", {})
    listed = []
    for name, rows in files.items():
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        role = name.partition("-")[0]
        listed.append(Source(name=name, path=f"{name}.jsonl", role=role, **sources.get(name, {})))
    return out, prepare(root=root, sources=listed, out=out, **options)


def _prompt(prompt: str, category: str = "harmless", **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "category": category, **more}


def _removed(out: Path) -> list[tuple[str, str]]:
    return [(r["id"], r["reason"]) for r in map(json.loads, (out / "removed.jsonl").read_text().splitlines())]


def test_no_embedded_evaluation_prompt_is_in_any_training_table(prepared: Path) -> None:
    tables = prepared / "tables"
    evaluation = {canonical(row["prompt"]) for row in read_table("evaluation", tables)}
    assert len(evaluation) >= 300
    for name in TABLES.keys() - {"evaluation"}:
        training = {canonical(row["prompt"]) for row in read_table(name, tables)}
        assert training and evaluation & training == set(), name


def test_no_embedded_validation_prompt_is_trained_on_in_any_table(prepared: Path) -> None:
    sides: dict[str, set[str]] = {"train": set(), "validation": set()}
    for name in TABLES.keys() - {"evaluation"}:
        for row in read_table(name, prepared / "tables"):
            sides[row["split"]].add(canonical(row["prompt"]))
    assert sides["train"] and sides["validation"] and not sides["train"] & sides["validation"]


def test_the_embedded_tables_are_sorted_with_unique_ids_and_the_report_counts_them(prepared: Path) -> None:
    report = json.loads((prepared / "report.json").read_text())
    for name in TABLES:
        ids = [row["id"] for row in read_table(name, prepared / "tables")]
        assert ids == sorted(set(ids)), name
        assert report["rows"][name] == len(ids)
        assert sum(row["rows"] for row in report["counts"] if row["table"] == name) == len(ids)
    assert report["sha256"] == table_hash(prepared / "tables")
    assert report["removed"] == len(_removed(prepared))


SCRIPT = """
import json, sys
from pathlib import Path
from sear_core.data.preparation import prepare
from sear_core.data.sources import Source
root, out, sources = sys.argv[1:]
prepare(root=Path(root), sources=[Source(**s) for s in json.loads(sources)], out=Path(out),
        near_duplicates=True, template_traces=1, rl_prompts=300, harmful_share=0.4)
"""


def test_the_bytes_depend_on_no_hash_seed_directory_time_zone_locale_or_number_of_threads(
    corpus: Path, tmp_path: Path
) -> None:
    kept = ("prompts", "evaluation")
    sources = json.dumps([source for source in DEMO if source["name"] in kept])
    results = []
    machines = [
        ("1", "UTC", "C.UTF-8", "1"),
        ("2", "Asia/Tokyo", "C", "2"),
        ("random", "America/Lima", "POSIX", "4"),
    ]
    for number, (hash_seed, zone, locale, threads) in enumerate(machines):
        out, cwd = tmp_path / f"out{number}", tmp_path / f"cwd{number}"
        out.mkdir()
        cwd.mkdir()
        environment = os.environ | {
            "PYTHONHASHSEED": hash_seed, "TZ": zone, "LC_ALL": locale, "LANG": locale, "PYTHONPATH": str(PROJECT),
            "OMP_NUM_THREADS": threads, "ARROW_NUM_THREADS": threads, "HOME": str(cwd), "PYTHONUTF8": str(number % 2),
        }  # fmt: skip
        command = [sys.executable, "-c", SCRIPT, str(corpus), str(out), sources]
        subprocess.run(command, cwd=cwd, env=environment, check=True)
        files = sorted(path for path in out.rglob("*") if path.is_file())
        results.append({path.relative_to(out).as_posix(): path.read_bytes() for path in files})
    assert results[0] == results[1] == results[2]
    assert len(results[0]) == len(TABLES) + 4


def test_an_evaluation_prompt_in_training_is_taken_out_and_listed_by_id(tmp_path: Path) -> None:
    out, report = _prepare(
        tmp_path,
        {
            "evaluation": [_prompt("How do I stop a hungry process?", id="e", suite="x")],
            "rl_prompts": [
                _prompt("how do I STOP  a hungry process", id="same"),
                _prompt("How do I stop a hungry processes", id="near"),
                _prompt("What is the time?", id="other"),
            ],
        },
        near_duplicates=False,  # within a table; those of evaluation prompts always go
    )
    assert _removed(out) == [("rl_prompts:near", "near_evaluation"), ("rl_prompts:same", "in_evaluation")]
    assert [row["id"] for row in read_table("rl_prompts", out / "tables")] == ["rl_prompts:other"]
    assert report.reasons == {"in_evaluation": 1, "near_evaluation": 1}
    assert "hungry" not in (out / "removed.jsonl").read_text() + (out / "card.md").read_text()


def test_near_duplicates_go_within_a_table_but_not_contrasts_other_answers_or_other_categories(
    tmp_path: Path,
) -> None:
    prompts = [
        _prompt("How do I stop a hungry process?", id="a"),
        _prompt("please, how do i stop a HUNGRY proces", id="b"),  # case, politeness and a slip
        _prompt("How do I stop a hungry person?", id="c"),  # one word, another question
        _prompt(
            "Hey, how do I stop a hungry process?", "ambiguous", id="d"
        ),  # labelled otherwise: a contrast
    ]
    answers = [
        _prompt("Name a colour.", id="1", answer="red", label=0),
        _prompt("Please name a colour", id="2", answer="blue", label=0),
        _prompt("name a colour!", id="3", answer="red", label=0),
    ]
    out, report = _prepare(tmp_path, {"rl_prompts": prompts, "answer_labels": answers}, near_duplicates=True)
    assert _removed(out) == [("answer_labels:3", "near_duplicate"), ("rl_prompts:b", "near_duplicate")]
    assert report.rows["rl_prompts"] == 3 and report.rows["answer_labels"] == 2


def test_of_many_near_duplicates_one_stays(tmp_path: Path) -> None:
    texts = [f"{opening}how do I stop a hungry process{end}" for opening in ("", "Please, ", "Hey, ", "OK, so ", "Hi! ")
             for end in ("?", "!", "...", " please", ", thanks")]  # fmt: skip
    out, report = _prepare(tmp_path, {"rl_prompts": [_prompt(text) for text in texts]}, near_duplicates=True)
    assert report.rows["rl_prompts"] == 1 and report.reasons == {"near_duplicate": 24}
    kept = read_table("rl_prompts", out / "tables")[0]["id"]
    removed = [json.loads(line) for line in (out / "removed.jsonl").read_text().splitlines()]
    assert {row["matched"] for row in removed} == {kept}


def test_lengths_may_be_limited_in_tokens_estimated_alike_in_every_script(tmp_path: Path) -> None:
    # 4 bytes of UTF-8 a token: 12 letters are 3 tokens, 4 Chinese signs (3 bytes each) too
    rows = [
        _prompt("abcdefghijkl", id="a"),
        _prompt("abcdefghijklm", id="b"),
        _prompt("一二三四", id="c"),
        _prompt("一二三四五", id="d"),
    ]
    out, report = _prepare(tmp_path, {"rl_prompts": rows}, max_prompt_tokens=3)
    assert _removed(out) == [("rl_prompts:b", "prompt_too_long"), ("rl_prompts:d", "prompt_too_long")]
    assert report.rows["rl_prompts"] == 2


def test_lengths_may_be_counted_by_a_tokenizer(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    rows = [_prompt("one two three", id="a"), _prompt("one two three four", id="b")]
    out, _ = _prepare(tmp_path / "x", {"rl_prompts": rows}, max_prompt_tokens=3, tokenizer=str(tmp_path))
    assert _removed(out) == [("rl_prompts:b", "prompt_too_long")]
    with pytest.raises(InputError, match=r"data\.tokenizer = '.*nowhere'"):
        _prepare(tmp_path / "y", {"rl_prompts": rows}, tokenizer=str(tmp_path / "nowhere"))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer\.json: not a tokenizer"):
        _prepare(tmp_path / "z", {"rl_prompts": rows}, tokenizer=str(tmp_path))


def test_the_card_names_sources_overlaps_and_examples_by_id_alone(tmp_path: Path) -> None:
    out, report = _prepare(
        tmp_path,
        {
            "evaluation": [_prompt("How do I stop a hungry process?", "harmful", id="e", suite="x")],
            "rl_prompts-a": [_prompt("What is the time?", id="1"), _prompt("Tell me a secret joke", id="2")],
            "rl_prompts-b": [
                _prompt("what is the TIME", id="<b>|3"),
                _prompt("how do i stop a hungry process", id="4"),
            ],
        },
        sources={"rl_prompts-a": {"licence": "MIT"}, "rl_prompts-b": {"licence": "CC|BY"}},
    )
    card = json.loads((out / "card.json").read_text())
    assert card["sha256"] == report.sha256 == table_hash(out / "tables")
    assert [(s["name"], s["licence"], s["read"], s["kept"]) for s in card["sources"]] == [
        ("evaluation", "unknown", 1, 1), ("rl_prompts-a", "MIT", 2, 2), ("rl_prompts-b", "CC|BY", 2, 1)
    ]  # fmt: skip
    assert card["overlaps"] == [
        {"source": "rl_prompts-b", "with": "evaluation", "reason": "in_evaluation", "rows": 1}
    ]
    assert card["removed_examples"] == {"in_evaluation": ["rl_prompts-b:4"]}
    assert {
        "table": "rl_prompts",
        "source": "rl_prompts-a",
        "ids": ["rl_prompts-a:1", "rl_prompts-a:2"],
    } in card["examples"]
    shown = (out / "card.md").read_text()
    assert "| CC\\|BY |" in shown and "`rl_prompts-b:&lt;b>\\|3`" in shown
    for text in (shown, (out / "card.json").read_text()):
        assert "hungry" not in text and "joke" not in text


@pytest.mark.slow
def test_a_table_is_not_held_in_memory_but_its_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sear_core.schema.GROUP_ROWS", 256)  # rows held while a table is written
    dice = random.Random(0)
    words = ["".join(dice.choices("bdfgklmnaeiou", k=7)) for _ in range(5000)]

    def peak(rows: int) -> int:
        texts = [_prompt(" ".join(dice.choices(words, k=40)), id=str(n)) for n in range(rows)]
        evaluation = [_prompt("an evaluation prompt of its own", suite="x")]
        lines = {"rl_prompts": texts, "evaluation": evaluation}
        tracemalloc.start()
        _prepare(tmp_path / str(rows), lines, near_duplicates=True)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(200)  # imports and caches
    first, second = peak(2000), peak(5000)
    # ids, hashes, skeletons and the join's keys; a row itself has some 1,000 bytes as Python objects
    assert (second - first) / 3000 <= 1024


def test_duplicates_go_and_contradictions_go_altogether(tmp_path: Path) -> None:
    answers = [
        _prompt("p", "harmful", id="1", answer="yes", label=1),
        _prompt("P", "harmful", id="2", answer="Yes", label=1),  # equals 1
        _prompt("q", "harmful", id="3", answer="no", label=0),
        _prompt("q", "harmful", id="4", answer="no", label=1),  # contradicts 3: which is right?
        _prompt("q", "harmful", id="5", answer="never", label=0),
    ]
    out, report = _prepare(tmp_path, {"answer_labels": answers})
    assert [row["id"] for row in read_table("answer_labels", out / "tables")] == [
        "answer_labels:1",
        "answer_labels:5",
    ]
    assert report.reasons == {"conflicting": 2, "duplicate": 1}


def test_unusable_rows_are_counted_by_reason(tmp_path: Path) -> None:
    def pair(name: str, prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
        return _prompt(prompt, id=name, chosen=chosen, rejected=rejected)

    rows = [
        pair("a", "p" * 11, "x", "y"), pair("b", "p", "x" * 21, "y"), pair("c", "p", "x", "x "),
        pair("d", " ", "x", "y"), pair("e", "p", "x", ""), pair("f", "p" * 10, "x" * 20, "y"),
    ]  # fmt: skip
    _, report = _prepare(tmp_path, {"preferences": rows}, max_prompt_chars=10, max_answer_chars=20)
    assert report.reasons == {
        "answer_too_long": 1, "chosen_equals_rejected": 1, "empty_text": 2, "prompt_too_long": 1
    }  # fmt: skip
    assert report.rows["preferences"] == 1 and report.removed == 5


def test_a_split_by_hash_is_the_same_in_every_table_and_a_fixed_one_wins(tmp_path: Path) -> None:
    prompts = [_prompt(f"prompt number {n}") for n in range(400)]
    out, _ = _prepare(
        tmp_path,
        {
            "rl_prompts": prompts,
            "warm_start": [row | {"reasoning": "r", "answer": "a"} for row in prompts],
            "preferences-held": [_prompt("prompt number 7", chosen="a", rejected="b")],
        },
        sources={"preferences-held": {"split": "validation"}},
        validation_share=0.2,
    )
    sides = [
        {row["prompt"]: row["split"] for row in read_table(name, out / "tables")}
        for name in ("rl_prompts", "warm_start")
    ]
    assert sides[0] == sides[1]
    share = Counter(sides[0].values())["validation"] / len(sides[0])
    assert 0.14 < share < 0.26  # 0.2 ± 3σ, σ = √(0.2 · 0.8 / 400) = 0.02
    assert sides[0].get("prompt number 7") in (None, "validation")


def _mixed(counts: dict[str, int], **options: Any) -> tuple[list[int], list[str]]:
    """(rows per category, chosen ids) of a mix of so many rows."""
    categories = [category for category, count in counts.items() for _ in range(count)]
    ids = [f"{category}{n}" for n, category in enumerate(categories)]
    chosen = mix(ids, categories, **{"total": None, "harmful_share": None, "seed": 0} | options)
    found = Counter(categories[i] for i in chosen)
    return [found[category] for category in ("harmful", "harmless", "ambiguous")], [ids[i] for i in chosen]


def test_the_mix_keeps_the_harmful_share_and_divides_the_rest() -> None:
    rows = {"harmful": 100, "harmless": 40, "ambiguous": 10}

    def counts(total: int | None, share: float, ratio: float = 1.0) -> list[int]:
        return _mixed(rows, total=total, harmful_share=share, harmless_per_ambiguous=ratio)[0]

    assert counts(20, 0.5) == [10, 5, 5]
    assert counts(50, 0.4) == [20, 20, 10]  # 30 others: 15 + 15, but there are only 10 ambiguous
    assert counts(None, 0.5) == [50, 40, 10]  # as large as 50 others allow
    assert counts(1000, 0.5) == [50, 40, 10]
    assert counts(20, 0.5, ratio=4.0) == [10, 8, 2]  # 4 : 1
    assert counts(60, 0.5, ratio=0.25) == [30, 20, 10]  # 6 : 24, but there are only 10 ambiguous
    chosen = [_mixed(rows, total=20, harmful_share=0.5, seed=seed)[1] for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    with pytest.raises(InputError, match="100 harmful and 0 others"):
        _mixed({"harmful": 100}, harmful_share=0.5)


def test_a_source_of_more_weight_has_more_rows_in_the_mix() -> None:
    ids = [str(n) for n in range(2000)]
    weights = [3.0 if n < 1000 else 1.0 for n in range(2000)]
    chosen = mix(ids, ["harmless"] * 2000, total=200, harmful_share=None, seed=0, weights=weights)
    heavy = sum(i < 1000 for i in chosen)
    # the first draws take three of four from the heavy thousand; ± 4 σ, σ = √(200 · 0.75 · 0.25) = 6
    assert 126 < heavy < 174
    with pytest.raises(ValueError, match="weight is for rl_prompts"):
        SourceConfig(name="s", role="preferences", path="a.csv", weight=2.0)


def test_template_traces_replace_bare_answers_and_label_their_steps(tmp_path: Path) -> None:
    prompts = [_prompt(f"request {n}", c) for n in range(30) for c in ("harmful", "ambiguous")]
    prompts = [row | {"prompt": f"{row['prompt']} {row['category']}"} for row in prompts]
    known = [
        _prompt("what is 1 + 1", answer="It is 2."),
        _prompt("request 3 harmful", "harmful", answer="No."),
    ]
    out, report = _prepare(tmp_path, {"rl_prompts": prompts, "warm_start": known}, template_traces=3)
    traces = read_table("warm_start", out / "tables")
    # 60 RL prompts and one more prompt that only has an answer, 3 traces each
    assert report.rows["warm_start"] == 61 * 3 == len(traces)
    own = [row["answer"] for row in traces if row["prompt"] == "what is 1 + 1"]
    assert all(row["reasoning"] for row in traces) and len(own) == 3 and "It is 2." in own
    labels = read_table("step_labels", out / "tables")
    assert len(labels) == len(traces)
    assert all(len(row["steps"]) == len(row["labels"]) for row in labels)
    assert all(row["labels"] == sorted(row["labels"]) for row in labels)  # once explored, explored
    assert {label for row in labels for label in row["labels"]} == {0.0, 1.0}


def test_anchors_join_human_labels_in_training_alone(tmp_path: Path) -> None:
    prompts = [_prompt(f"request {n} {c}", c) for n in range(60) for c in ("harmful", "ambiguous")]
    known = [_prompt(f"what is 1 + {n}", answer=f"It is {1 + n}.") for n in range(20)]
    human = {
        "answer_labels": [_prompt("asked by people", "harmful", answer="a reply", label=1)],
        "preferences": [
            _prompt("benign pair", "ambiguous", chosen="gladly", rejected="hardly"),
            _prompt("red-team pair", "harmful", chosen="no", rejected="gladly"),
        ],
    }
    tables = {"rl_prompts": prompts, "warm_start": known}
    out, _ = _prepare(tmp_path, {**tables, **human}, template_traces=1, validation_share=0.2)
    traces = read_table("warm_start", out / "tables", split="train")
    anchors = [row for row in read_table("answer_labels", out / "tables") if row["id"].endswith(":answer")]
    # one for each trace that is trained on, harmful where it complies with a harmful prompt
    assert len(anchors) == len(traces) and {row["split"] for row in anchors} == {"train"}
    for row in anchors:
        complied = row["answer"] not in REFUSALS
        assert row["label"] == (1.0 if complied and row["category"] == "harmful" else 0.0)
    pairs = [row for row in read_table("preferences", out / "tables") if row["id"].endswith(":refused")]
    assert {row["split"] for row in pairs} == {"train"}
    assert all(row["rejected"] in REFUSALS and row["chosen"] not in REFUSALS for row in pairs)
    # never for a harmful prompt, where the refusal is right
    assert {row["category"] for row in pairs} <= {"harmless", "ambiguous"}
    assert {row["chosen"] for row in pairs} <= {"gladly", *(row["answer"] for row in known)}


def test_without_human_labels_there_are_no_anchors(tmp_path: Path) -> None:
    _, report = _prepare(tmp_path, {"rl_prompts": [_prompt("a"), _prompt("b")]}, template_traces=1)
    assert report.rows["answer_labels"] == 0 == report.rows["preferences"]


def test_two_sources_of_one_name_and_no_source_are_errors(tmp_path: Path) -> None:
    source = Source(name="a", path="a.csv", role="rl_prompts")
    with pytest.raises(InputError, match="the name 'a' stands twice"):
        prepare(root=tmp_path, sources=[source, source], out=tmp_path)
    with pytest.raises(InputError, match="expected at least one source"):
        prepare(root=tmp_path, sources=[], out=tmp_path)


def test_a_failed_preparation_writes_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="category 'rude'"):
        _prepare(tmp_path, {"rl_prompts": [_prompt("x"), _prompt("y", "rude")]})
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("text", ["", "  a\r\nb\t c ", "\u00e9 e\u0301", "Ｗｉｄｅ ﬁ", "!?", "\n\n\n\nx"])
def test_normal_forms_are_fixed_points(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
    assert canonical(canonical(text)) == canonical(text)
    assert canonical(normalise(text)) == canonical(text)


def test_a_prefill_keeps_the_newline_that_it_ends_in(tmp_path: Path) -> None:
    """Else a model would learn to go on in the middle of a line, where every attack ends one."""
    ends = ("zu fro\n", "zu  fro \r\n", "zu fro\n\n", "zu fro ", "zu\nfro", "\n", "")
    rows = [_prompt(f"what is {n}?", prefill=prefill, split="train") for n, prefill in enumerate(ends)]
    out, _ = _prepare(tmp_path, {"rl_prompts": rows}, sources={"rl_prompts": {"columns": {"split": "split"}}})
    found = {row["prompt"]: row["prefill"] for row in read_table("rl_prompts", out / "tables")}
    assert [found[f"what is {n}?"] for n in range(len(ends))] == [
        "zu fro\n", "zu fro\n", "zu fro\n", "zu fro", "zu\nfro", "", "",
    ]  # fmt: skip
