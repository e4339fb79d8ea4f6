"""Sources to rows: every format and mapping, and one clear error per kind of bad input."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sear_core.data.readers import read_records
from sear_core.data.sources import Source, count_rows, read_source
from sear_core.errors import InputError

PROJECT = Path(__file__).parents[3]
ROWS = [{"text": "how do I fly", "kind": "safe"}, {"text": "was ist größer", "kind": "unsafe"}]
MAPPING: dict[str, Any] = {
    "columns": {"prompt": "text", "category": "kind"},
    "values": {"category": {"safe": "ambiguous", "unsafe": "harmful"}},
}


def _source(path: str, **options: Any) -> Source:
    return Source(name="s", path=path, role="rl_prompts", **{**MAPPING, **options})


def _write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def _delimited(separator: str) -> str:
    return "\n".join([f"text{separator}kind", *(f"{row['text']}{separator}{row['kind']}" for row in ROWS)])


FORMATS = {
    "a.csv": _delimited(",").encode(),
    "bom.csv": b"\xef\xbb\xbf" + _delimited(",").encode(),
    "a.tsv": _delimited("\t").encode(),
    "a.json": json.dumps(ROWS).encode(),
    "a.jsonl": "\n".join(map(json.dumps, ROWS)).encode(),
    "blank.jsonl": "\n\n".join(map(json.dumps, ROWS)).encode(),
    "a.csv.gz": gzip.compress(_delimited(",").encode()),
    "a.jsonl.gz": gzip.compress("\n".join(map(json.dumps, ROWS)).encode()),
}


@pytest.mark.parametrize("name", [*FORMATS, "a.parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / name)
    else:
        _write(tmp_path / name, FORMATS[name])
    rows, counts = read_source(_source(name), tmp_path)
    assert [(row["prompt"], row["category"]) for row in rows] == [
        ("how do I fly", "ambiguous"),
        ("was ist größer", "harmful"),
    ]
    assert counts == {"read": 2, "where": 0, "limit": 0}
    assert count_rows(tmp_path, name) == 2


def test_a_quoted_csv_field_may_hold_commas_quotes_and_newlines(tmp_path: Path) -> None:
    _write(tmp_path / "a.csv", 'text,kind\n"one,\n\ntwo ""x""",safe\n')
    rows, _ = read_source(_source("a.csv"), tmp_path)
    assert rows[0]["prompt"] == 'one,\n\ntwo "x"'


def test_templates_dotted_paths_constants_and_where(tmp_path: Path) -> None:
    records = [
        {"q": "Add.", "io": [{"input": "1 2", "output": "3"}], "meta": {"lang": "en"}, "y": True},
        {"q": "Addiere.", "io": [{"input": "", "output": "0"}], "meta": {"lang": "de"}, "y": False},
        {"q": "Say {io}.", "io": [{"input": "{q}", "output": "0"}], "meta": {"lang": "en"}, "y": True},
    ]
    _write(tmp_path / "a.json", json.dumps(records))
    source = Source(
        name="s",
        path="a.json",
        role="answer_labels",
        templates={"prompt": "{q}\n\n{io.0.input}"},
        columns={"answer": "io.0.output", "label": "y", "slice": "meta.lang"},
        constants={"category": "harmless"},
        where={"meta.lang": ["en"], "y": [True]},
    )
    rows, counts = read_source(source, tmp_path)
    assert [row["prompt"] for row in rows] == ["Add.\n\n1 2", "Say {io}.\n\n{q}"]  # filled in once, not twice
    assert [row["label"] for row in rows] == [1.0, 1.0]
    assert counts == {"read": 3, "where": 1, "limit": 0}


def test_texts_are_nfc_with_single_blanks_and_kept_newlines(tmp_path: Path) -> None:
    _write(
        tmp_path / "a.json",
        json.dumps([{"text": "  cafe\u0301 \t au\u00a0lait \r\n\n\n\n ok ", "kind": "safe"}]),
    )
    rows, _ = read_source(_source("a.json"), tmp_path)
    assert rows[0]["prompt"] == "café au lait\n\nok"


def test_a_limit_is_chosen_by_content_not_by_order(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"prompt {n}", "kind": "safe"}) for n in range(50)]
    _write(tmp_path / "a.jsonl", "\n".join(lines))
    _write(tmp_path / "b.jsonl", "\n".join(reversed(lines)))
    (first, counts), (second, _) = (
        read_source(_source(name, limit=7), tmp_path) for name in ("a.jsonl", "b.jsonl")
    )
    assert {row["prompt"] for row in first} == {row["prompt"] for row in second}
    assert len(first) == 7 and counts["limit"] == 43


def test_oasst_trees_give_every_ranked_pair_of_first_replies(tmp_path: Path) -> None:
    def reply(text: str, rank: int | None, **more: Any) -> dict[str, Any]:
        return {"text": text, "role": "assistant", "rank": rank, "deleted": False, "replies": [], **more}

    replies = [reply("b", 1), reply("a", 0), reply("c", 2), reply("x", None), reply("y", 3, deleted=True)]
    tree = {"message_tree_id": "t", "prompt": {"text": "p", "role": "prompter", "replies": replies}}
    _write(tmp_path / "a.jsonl", json.dumps(tree))
    source = Source(name="s", path="a.jsonl", role="preferences", reader="oasst_trees",
                    constants={"category": "harmless"})  # fmt: skip
    rows, _ = read_source(source, tmp_path)
    # three ranked, undeleted replies: 3 · 2 / 2 = 3 pairs
    assert [(row["chosen"], row["rejected"]) for row in rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert rows[0]["id"] == "s:t:0-1"


def _hh(tmp_path: Path, chosen: str, rejected: str) -> list[dict[str, Any]]:
    _write(tmp_path / "a.jsonl", json.dumps({"chosen": chosen, "rejected": rejected}))
    source = Source(name="s", path="a.jsonl", role="preferences", reader="hh_dialogues",
                    constants={"category": "harmful"})  # fmt: skip
    return read_source(source, tmp_path)[0]


def test_hh_dialogues_part_at_the_last_answer(tmp_path: Path) -> None:
    row = _hh(tmp_path, "\n\nHuman: hi\n\nAssistant: no", "\n\nHuman: hi\n\nAssistant: yes")[0]
    assert (row["prompt"], row["chosen"], row["rejected"]) == ("hi", "no", "yes")
    start = "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: how"
    row = _hh(tmp_path, f"{start}\n\nAssistant: so", f"{start}\n\nAssistant: thus")[0]
    assert row["prompt"] == "Human: hi\n\nAssistant: hello\n\nHuman: how"
    assert (row["chosen"], row["rejected"]) == ("so", "thus")


def test_a_text_that_is_no_dialogue_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.jsonl: row 1: not a dialogue"):
        _hh(tmp_path, "hello", "\n\nHuman: a\n\nAssistant: b")
    with pytest.raises(InputError, match=r"row 1: the two dialogues share no turn of the human"):
        _hh(tmp_path, "\n\nHuman: a\n\nAssistant: b", "\n\nHuman: c\n\nAssistant: b")


def test_a_pair_without_a_difference_is_kept_for_the_preparation_to_count(tmp_path: Path) -> None:
    row = _hh(tmp_path, "\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant: b")[0]
    assert row["chosen"] == row["rejected"] == "b"


def _tar() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.csv"))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", "a.csv: empty, expected at least one row"),
        ("a.csv", b"text,kind\n", "a.csv: empty"),
        ("a.jsonl", b"\n\n", "a.jsonl: empty"),
        ("a.json", b"[]", "a.json: empty"),
        ("a.parquet", b"", "a.parquet: empty"),
        ("a.csv", b"text,kind\nx,safe\ny,safe,z\n", "a.csv: line 3: 3 fields, expected 2"),
        ("a.csv", b'text,kind\nx,safe\n"y,safe\n', "a.csv: line 3: malformed"),
        ("a.csv", b"text,text\nx,safe\n", "a.csv: line 1: column 'text' stands twice"),
        ("a.csv", b"text,kind\nx,safe\n\xe4,safe\n", r"line 3: byte 17 \(0xe4\) is not UTF-8"),
        ("a.csv", "text,kind\nx,safe\n".encode("utf-16"), "UTF-16"),
        ("a.jsonl", b'{"text": "x", "kind": "safe"}\n{"text": \n', "a.jsonl: line 2: not JSON at column"),
        ("a.jsonl", b'{"text": "x", "kind": "safe"}\n["x"]\n', "line 2: a list, expected a JSON object"),
        ("a.jsonl", b'{"text": "\\ud800", "kind": "safe"}', "row 1.*half a surrogate pair"),
        ("a.json", b'{"text": "x"}', "a dict, expected a JSON list"),
        ("a.json", b'[{"text": "x", "kind": "safe"},\n', "a.json: line 2: not JSON"),
        ("a.json", b'[{"text": "x", "kind": "safe"}\n {}]', "a.json: line 2: not JSON: expected ','"),
        ("a.json", b'[{"text": "x", "kind": "safe"}]\n]', "a.json: line 2: not JSON: more text after the list"),
        ("a.json", b'[{"text": "x", "kind": "safe"},\n["x"]]', "a.json: row 2: a list, expected a JSON object"),
        ("a.json", b'[{"text": "x",\n "kind": "s\xe4fe"}]', r"a.json: line 2: byte 26 is not UTF-8"),
        ("a.parquet", b"PAR1 not really", "a.parquet: not a whole Parquet file"),
        ("a.csv.gz", b"text,kind\nx,safe\n", "a.csv.gz: cannot be read"),
        ("a.csv.gz", gzip.compress(b"text,kind\nx,safe\n", mtime=0)[:-9], "a.csv.gz: cannot be read"),
        ("a.xlsx", b"x", "unknown kind of file; expected .csv"),
        ("a.csv", b"txt,kind\nx,safe\n", r"row 2.*no column 'text'.*did you mean 'txt'\?"),
        ("a.csv", b"text,kind\nx,rude\n", "row 2.*category 'rude', expected one of safe, unsafe"),
        ("a.jsonl", b'{"text": null, "kind": "safe"}', "row 1.*prompt is null"),
        ("a.jsonl", b'{"text": ["x"], "kind": "safe"}', "row 1.*prompt: a list, expected a text"),
    ],
)  # fmt: skip
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    _write(tmp_path / name, data)
    with pytest.raises(InputError, match=message):
        read_source(_source(name), tmp_path)


def test_a_truncated_parquet_file_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS * 100), tmp_path / "whole.parquet")
    _write(tmp_path / "a.parquet", (tmp_path / "whole.parquet").read_bytes()[:-20])
    with pytest.raises(InputError, match=r"a\.parquet: not a whole Parquet file"):
        read_source(_source("a.parquet"), tmp_path)


def test_an_id_used_twice_is_named_with_both_rows(tmp_path: Path) -> None:
    _write(tmp_path / "a.csv", "id,text,kind\n1,x,safe\n2,y,safe\n1,z,safe\n")
    with pytest.raises(InputError, match=r"row 4.*id '1' was already used in row 2"):
        read_source(_source("a.csv"), tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"prompt": "text"}, "values": {}, "constants": {"category": "rude"}}, "category 'rude'"),
        ({"columns": {"prompt": "text"}, "values": {}}, r"no column for 'category'.*name one in `columns`"),
        ({"columns": {"promt": "text"}}, r"columns.promt.*did you mean 'prompt'\?"),
        ({"where": {"kynd": ["safe"]}}, r"no column 'kynd'.*did you mean 'kind'\?"),
        ({"where": {"kind": ["other"]}}, "`where` keeps none of its 2 rows"),
        ({"reader": "xml"}, "reader 'xml', expected one of rows"),
        ({"group": "nothing"}, "unique or group names 'nothing'"),
        ({"split": "dev"}, "split 'dev', expected one of train"),
    ],
)  # fmt: skip
def test_a_wrong_mapping_is_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    _write(tmp_path / "a.csv", FORMATS["a.csv"])
    with pytest.raises(InputError, match=message):
        read_source(_source("a.csv", **options), tmp_path)


def test_a_label_that_is_no_number_is_named(tmp_path: Path) -> None:
    _write(tmp_path / "a.csv", "prompt,answer,label\nx,y,1\nx,z,bad\n")
    source = Source(name="s", path="a.csv", role="answer_labels", constants={"category": "harmful"})
    with pytest.raises(InputError, match=r"row 3.*label 'bad', expected a number"):
        read_source(source, tmp_path)


def test_no_path_leads_out_of_the_data_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    outside = _write(tmp_path / "a.csv", FORMATS["a.csv"])
    (root / "link.csv").symlink_to(outside)
    (root / "loop.csv").symlink_to(root / "loop.csv")
    (root / "folder.csv").mkdir()
    for path, message in [
        ("../a.csv", "leaves the data root"),
        ("x/../../a.csv", "leaves the data root"),
        (str(outside), "leaves the data root"),
        ("link.csv", "symbolic link leads out"),
        ("loop.csv", "cannot be read|no such file"),
        ("folder.csv", "not a file"),
        ("lnk.csv", r"no such file; did you mean 'link\.csv'"),
    ]:
        with pytest.raises(InputError, match=message):
            read_source(_source(path), root)


def test_a_missing_or_empty_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.root = '.*nowhere': no such directory"):
        read_source(_source("a.csv"), tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"the data root is empty, expected 'a\.csv'"):
        read_source(_source("a.csv"), tmp_path)


def test_a_gzipped_parquet_file_a_folder_of_files_and_a_saved_data_set_give_the_same_rows(
    tmp_path: Path,
) -> None:
    from datasets import Dataset, DatasetDict

    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "x.parquet")
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress((tmp_path / "x.parquet").read_bytes()))
    shards = tmp_path / "shards"
    shards.mkdir()
    for number, row in enumerate(ROWS):
        _write(shards / f"{number}.jsonl", json.dumps(row))
    _write(shards / "README.md", "no rows")
    Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "one"))
    DatasetDict({"train": Dataset.from_list(ROWS)}).save_to_disk(str(tmp_path / "parts"))
    for path in ("a.parquet.gz", "shards", "one", "parts"):
        rows, counts = read_source(_source(path), tmp_path)
        assert [row["prompt"] for row in rows] == [row["text"] for row in ROWS], path
        assert counts["read"] == 2 == count_rows(tmp_path, path)
    with pytest.raises(InputError, match="no split 'test' in this data set, expected one of train"):
        read_source(_source("parts", part="test"), tmp_path)
    (tmp_path / "one" / "state.json").write_text("{")
    with pytest.raises(InputError, match="one: not a whole saved data set"):
        read_source(_source("one"), tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"PK\x03\x04rest", "a.csv: a zip archive, expected CSV"),
        ("a.jsonl", gzip.compress(b"{}", mtime=0), "a.jsonl: a gzip file, expected JSONL"),
        ("a.json", b"PAR1....", "a.json: a Parquet file, expected JSON"),
        ("a.csv.gz", gzip.compress(b"PK\x03\x04rest", mtime=0), "a.csv.gz: a zip archive, expected CSV"),
        ("a.jsonl.gz", b"PK\x03\x04rest", "a.jsonl.gz: cannot be read: a zip archive, expected gzip"),
        ("a.parquet", b"text,kind\nx,safe\n", "a.parquet: not a whole Parquet file: it does not begin with PAR1"),
        ("a.parquet.gz", gzip.compress(b"text,kind\n", mtime=0), "a.parquet.gz: not a whole Parquet file"),
        ("a.tsv", b"text\tkind\nx\0\tsafe\n", "a.tsv: line 2: byte 11 is NUL: not a text file"),
        ("a.csv", b"\xff\xfe\x00\x00t\x00\x00\x00", "a.csv: UTF-32"),
        ("a.jsonl", '{"text": "ä"}\n'.encode() + '{"text": "ä"}'.encode("latin-1"), r"line 2: byte 25 \(0xe4\)"),
        ("a.jsonl", b'{"n": ' + b"9" * 5000 + b"}", "a.jsonl: line 1: not usable JSON: .*digits"),
        ("a.json", b'[{"n": ' + b"9" * 5000 + b"}]", "a.json: line 1: not usable JSON: .*digits"),
        ("a.csv.gz", gzip.compress(_tar(), mtime=0), "a.csv.gz: a tar archive, expected CSV"),
        ("a.jsonl", _tar(), "a.jsonl: a tar archive, expected JSONL"),
        ("a.csv", b'text,kind\n"' + b"x" * 200_000, "a.csv: line 2: malformed: field larger than field limit"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_its_name_says_is_told(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    _write(tmp_path / name, data)
    with pytest.raises(InputError, match=message):
        list(read_records(tmp_path / name))


def test_an_id_that_a_terminal_might_obey_is_written_out(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", json.dumps({"id": "\x1b[2J1\nok\u202e", "text": "x", "kind": "safe"}))
    assert read_source(_source("a.jsonl"), tmp_path)[0][0]["id"] == "s:\\x1b[2J1\\nok\\u202e"


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_a_line_of_200_mb_is_refused_within_bounded_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.write({"a.csv": b"text\n", "a.jsonl": b'{"text": "', "a.json": b'[{"text": "'}[name])
        for _ in range(200):
            file.write(b"x" * 1_000_000)
    tracemalloc.start()
    with pytest.raises(InputError, match=f"{name}: line [12]: .*16 MiB"):
        list(read_records(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    path.unlink()
    assert peak < 150e6  # a few times 16 MiB: the line, its text, and the window's growth


def test_a_json_list_on_one_line_is_read_row_by_row(tmp_path: Path) -> None:
    rows = [{"text": f"{'long ' * 5000}{n}", "kind": "safe"} for n in range(200)]  # 5 MB, in pieces of 1 MiB
    _write(tmp_path / "a.json", json.dumps(rows))
    tracemalloc.start()
    assert sum(1 for _ in read_records(tmp_path / "a.json")) == 200
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4.5e6  # of 5 MB of text
    assert [row["text"][-2:] for _, row in read_records(tmp_path / "a.json")][-1] == "99"


def test_the_star_translates_whatever_is_not_named(tmp_path: Path) -> None:
    _write(tmp_path / "a.csv", "text,kind\nx,safe\ny,rude\nz,cruel\n")
    source = _source("a.csv", values={"category": {"safe": "harmless", "*": "harmful"}})
    assert [row["category"] for row in read_source(source, tmp_path)[0]] == ["harmless", "harmful", "harmful"]


def test_numbered_answers_are_ordered_by_which_is_safer(tmp_path: Path) -> None:
    record = {"prompt": "p", "response_0": "a", "response_1": "b", "is_response_0_safe": False,
              "is_response_1_safe": True, "safer_response_id": 1}  # fmt: skip
    _write(tmp_path / "a.jsonl", json.dumps(record))
    source = Source(name="s", path="a.jsonl", role="preferences", reader="numbered_answers",
                    constants={"category": "harmful"}, where={"chosen_is_safe": [True]})  # fmt: skip
    row = read_source(source, tmp_path)[0][0]
    assert (row["chosen"], row["rejected"]) == ("b", "a")
    _write(tmp_path / "a.jsonl", json.dumps(record | {"safer_response_id": 2}))
    with pytest.raises(InputError, match="row 1: safer_response_id 2, expected 0 or 1"):
        read_source(source, tmp_path)


def test_attack_artifacts_are_one_object_whose_attacks_without_a_prompt_are_left_out(tmp_path: Path) -> None:
    attacks = [{"index": 0, "prompt": "x"}, {"index": 1, "prompt": None}, {"index": 2, "prompt": "y"}]
    _write(tmp_path / "a.json", json.dumps({"parameters": {}, "jailbreaks": attacks}))
    source = Source(name="s", path="a.json", role="evaluation", reader="attack_artifacts",
                    constants={"category": "harmful", "suite": "jbb"})  # fmt: skip
    assert [row["prompt"] for row in read_source(source, tmp_path)[0]] == ["x", "y"]
    _write(tmp_path / "a.json", '{"jailbreaks": 1}')
    with pytest.raises(InputError, match="row 1: no list `jailbreaks`"):
        read_source(source, tmp_path)


def test_a_hub_name_without_network_is_a_clear_error(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from sear_core.data.sources import Source, read_source\n"
        "read_source(Source(name='s', role='rl_prompts', hub='no-such-owner/no-such-set'), Path('.'))"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "InputError: hub 'no-such-owner/no-such-set'" in last and "Expected a network" in last


def test_a_name_that_is_no_hub_name_and_a_source_of_two_places_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected the name of a data set on the hub"):
        read_source(Source(name="s", role="rl_prompts", hub="../a/b"), tmp_path)
    with pytest.raises(InputError, match="expected one of the two"):
        read_source(_source("a.csv", hub="owner/name"), tmp_path)
