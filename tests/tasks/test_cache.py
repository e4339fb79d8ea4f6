"""The store believes only what it can verify, and can say what changed."""

import os
import time
from pathlib import Path

import pytest

from tasks.cache import Parts, Store, content_hash, describe_changes


def parts(**changes) -> Parts:
    base = {"stage": "warm_start", "section": {"lr": 0.1}, "inputs": {"prepare": "aa"}, "code": {"a.py": "1"}}
    return Parts(**{**base, **changes})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", tmp_path / "locks")


def fill(store: Store, p: Parts, text: str = "weights") -> dict:
    out = store.partial(p) / "out"
    out.mkdir(parents=True)
    (out / "model.txt").write_text(text)
    (out / "history.json").write_text("{}")
    return store.commit(p, {"path": "out", "run_id": "r1"}, ("model",))


def test_a_committed_output_is_found_again_with_its_handle(store):
    fill(store, parts())
    found = store.lookup(parts())
    assert found.hit is not None and found.hit["handle"]["run_id"] == "r1"
    assert found.reason == "unchanged"
    assert not store.partial(parts()).exists()


def test_an_output_that_was_never_renamed_is_not_believed(store):
    out = store.partial(parts()) / "out"
    out.mkdir(parents=True)
    (out / "model.txt").write_text("half")
    assert store.lookup(parts()).hit is None


@pytest.mark.parametrize("damage", ["change", "delete"])
def test_a_damaged_file_is_named_and_not_believed(store, damage):
    fill(store, parts())
    victim = store.out(parts()) / "model.txt"
    victim.write_text("other") if damage == "change" else victim.unlink()
    found = store.lookup(parts())
    assert found.hit is None
    assert "model.txt" in found.reason and "damaged" in found.reason


def test_the_reason_names_the_part_that_changed(store):
    fill(store, parts())
    assert store.lookup(parts(section={"lr": 0.2})).reason == "config lr: 0.1 → 0.2"
    assert store.lookup(parts(inputs={"prepare": "bb"})).reason == "input prepare changed"
    assert store.lookup(parts(code={"a.py": "2"})).reason == "code a.py changed"
    assert store.lookup(parts(libraries={"trl": "1.16.0"})).reason == 'library trl: none → "1.16.0"'
    assert Store(store.root / "empty", store.locks).lookup(parts()).reason == "never run"


def test_timings_in_a_log_do_not_change_what_later_stages_see():
    files = {"model/w": "1", "history.json": "2"}
    assert content_hash(files, ("model/",)) == content_hash({**files, "history.json": "3"}, ("model/",))
    assert content_hash(files, ("model/",)) != content_hash({**files, "model/w": "9"}, ("model/",))


def test_many_changes_are_counted_rather_than_listed():
    before = {"section": {str(i): 0 for i in range(5)}}
    now = {"section": {str(i): 1 for i in range(5)}}
    assert describe_changes(before, now)[-1] == "and 2 more of config"


def test_committing_over_a_damaged_entry_replaces_it(store):
    fill(store, parts())
    (store.out(parts()) / "model.txt").write_text("damaged")
    fill(store, parts(), text="again")
    assert (store.out(parts()) / "model.txt").read_text() == "again"
    assert store.lookup(parts()).hit is not None


def test_leftovers_of_killed_runs_are_swept_but_no_output_and_no_try_in_progress(store):
    fill(store, parts())
    replaced = store.entry_dir(parts()).with_name(f"{parts().key}.old-4711")
    replaced.mkdir()
    old, young, busy = (parts(section={"lr": lr}) for lr in (1, 2, 3))
    for p in (old, young, busy):
        store.partial(p).mkdir()
    day = time.time() - 15 * 86400
    for p in (old, busy):
        os.utime(store.partial(p), (day, day))
    with store.lock(busy):
        assert sorted(store.sweep()) == sorted([replaced, store.partial(old)])
    assert store.partial(young).is_dir() and store.partial(busy).is_dir()
    assert store.lookup(parts()).hit is not None
    assert store.sweep(older_than=-1) and not list(store.root.glob("*/*.partial"))
