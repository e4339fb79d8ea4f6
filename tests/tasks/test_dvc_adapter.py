"""The data version, against DVC itself, and data/ on a fresh clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sear_core.data.corpus import expected_hashes, write_sources
from sear_core.errors import InputError
from tasks import dvc_adapter, sources_in_place


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_sources(folder)
    return folder


@pytest.fixture(scope="module")
def tracked_repository(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose data/ holds the embedded corpus and one file of the team's own."""
    root = tmp_path_factory.mktemp("repository")
    _run(root, "git", "init", "-q", ".")
    _run(root, sys.executable, "-m", "dvc", "init", "-q")
    shutil.copytree(corpus, root / "data" / "embedded")
    (root / "data" / "own").mkdir()
    (root / "data" / "own" / "größe.csv").write_text("prompt\nhow are you\n")
    dvc_adapter.add(root)
    return root


def _run(cwd: Path, *command: str) -> None:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, env=environment)


def _clone(repository: Path, target: Path) -> Path:
    """What git would bring: data.dvc and .dvc/config, neither data/ nor the cache."""
    (target / ".dvc").mkdir(parents=True)
    shutil.copy(repository / ".dvc" / "config", target / ".dvc" / "config")
    shutil.copy(repository / "data.dvc", target)
    _run(target, "git", "init", "-q", ".")
    return target


def _embedded_only(target: Path, corpus: Path) -> Path:
    """A clone whose data.dvc lists the embedded corpus alone, written as DVC writes it."""
    shutil.copytree(corpus, target / "scratch" / "embedded")
    md5 = dvc_adapter.directory_version(target / "scratch")
    shutil.rmtree(target / "scratch")
    text = f"outs:\n- md5: {md5}\n  size: 1\n  nfiles: {len(expected_hashes())}\n  hash: md5\n  path: data\n"
    (target / "data.dvc").write_text(text)
    return target


def test_the_hash_of_a_whole_folder_is_the_one_dvc_add_writes(tracked_repository: Path) -> None:
    tracked = dvc_adapter.tracked_version(tracked_repository / "data.dvc")
    data = tracked_repository / "data"
    paths = [path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file()]
    assert len(paths) == tracked.nfiles == 7
    assert dvc_adapter.data_version(data, reversed(paths)) == tracked.md5
    assert dvc_adapter.matches(tracked_repository / "data.dvc", data)


def test_the_version_covers_the_named_files_only_and_has_36_characters(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "b.csv").write_text("y")
    before = dvc_adapter.data_version(tmp_path, ["a.csv"])
    assert len(before) == 36 and before.endswith(".dir")
    (tmp_path / "b.csv").write_text("z")
    assert dvc_adapter.data_version(tmp_path, ["a.csv"]) == before
    (tmp_path / "a.csv").write_text("X")
    assert dvc_adapter.data_version(tmp_path, ["a.csv"]) != before


def test_a_missing_file_has_no_version(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"b\.csv.*no such file"):
        (tmp_path / "a.csv").write_text("x")
        dvc_adapter.data_version(tmp_path, ["a.csv", "b.csv"])


def test_on_a_fresh_clone_the_embedded_corpus_is_rebuilt_to_the_byte(tmp_path: Path, corpus: Path) -> None:
    root = _embedded_only(tmp_path, corpus)
    sources_in_place.ensure_sources(root)
    assert dvc_adapter.matches(root / "data.dvc", root / "data")
    assert sorted(p.name for p in (root / "data" / "embedded").iterdir()) == sorted(expected_hashes())
    assert not list(root.glob(".embedded-*"))
    sources_in_place.ensure_sources(root)  # and again: nothing to do


def test_a_corpus_that_comes_out_differently_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {**expected_hashes(), "steps.jsonl": "0" * 64}
    monkeypatch.setattr("sear_core.data.corpus.expected_hashes", lambda: wrong)
    with pytest.raises(InputError, match=r"differently on this machine: steps\.jsonl"):
        sources_in_place.ensure_sources(tmp_path)
    assert not (tmp_path / "data" / "embedded").exists() and not list(tmp_path.glob(".embedded-*"))


def test_a_changed_source_is_named(tmp_path: Path, corpus: Path) -> None:
    root = _embedded_only(tmp_path, corpus)
    sources_in_place.ensure_sources(root)
    with (root / "data" / "embedded" / "steps.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(InputError, match=r"differs from data\.dvc .*embedded/steps\.jsonl"):
        sources_in_place.ensure_sources(root)


def test_own_files_that_no_remote_has_are_missing_with_a_word_about_remotes(
    tmp_path: Path, tracked_repository: Path
) -> None:
    root = _clone(tracked_repository, tmp_path / "clone")
    with pytest.raises(InputError, match=r"missing 1 files beside data/embedded.*remote"):
        sources_in_place.ensure_sources(root)
    assert not (root / "data" / "embedded").exists()


def test_own_files_are_named_where_the_cache_still_lists_them(
    tmp_path: Path, tracked_repository: Path
) -> None:
    root = _clone(tracked_repository, tmp_path / "clone")
    md5 = dvc_adapter.tracked_version(root / "data.dvc").md5
    listing = Path(".dvc", "cache", "files", "md5", md5[:2], md5[2:])
    (root / listing).parent.mkdir(parents=True)
    shutil.copy(tracked_repository / listing, root / listing)
    with pytest.raises(InputError, match=r"missing data/own/größe\.csv"):
        sources_in_place.ensure_sources(root)


def test_own_files_are_pulled_where_a_remote_has_them(tmp_path: Path, tracked_repository: Path) -> None:
    remote = tmp_path / "remote"
    _run(tracked_repository, sys.executable, "-m", "dvc", "remote", "add", "-q", "-f", "-d", "r", str(remote))
    _run(tracked_repository, sys.executable, "-m", "dvc", "push", "-q")
    root = _clone(tracked_repository, tmp_path / "clone")
    sources_in_place.ensure_sources(root)
    assert dvc_adapter.matches(root / "data.dvc", root / "data")
    assert (root / "data" / "own" / "größe.csv").read_text() == "prompt\nhow are you\n"


@pytest.mark.parametrize(
    "text", ["", "outs: []", "outs:\n- md5: [", "outs:\n- {md5: abc, path: data, nfiles: 1}"]
)
def test_a_broken_data_dvc_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.dvc").write_text(text)
    with pytest.raises(InputError, match=r"data\.dvc: "):
        dvc_adapter.tracked_version(tmp_path / "data.dvc")
