"""What came, went and changed between two data versions, counted by hand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sear_core.errors import InputError
from tasks import data_sharing, dvc_adapter
from tasks.data_diff import diff


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _git(root: Path, *arguments: str) -> str:
    own = ("-c", "user.name=tests", "-c", "user.email=tests@example.org")
    return subprocess.run(
        ["git", "-C", str(root), *own, *arguments], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two committed versions. Second to first: with ids, one row more, one less, one changed of four; without, one
    of two changed; a file gone, a file new, one the same, one no table."""
    root = tmp_path_factory.mktemp("project")
    data = root / "data"
    _git(root, "init", "-q", ".")
    (root / ".gitignore").write_text("/data\n/.sear/\n")
    _write(data / "ids.jsonl", [{"id": n, "prompt": f"a secret prompt {n}"} for n in range(4)])
    _write(data / "bare.jsonl", [{"answer": "x"}, {"answer": "x"}])
    _write(data / "gone.jsonl", [{"id": 1}])
    _write(data / "same.jsonl", [{"id": 1}])
    (data / "notes.txt").write_text("one")
    dvc_adapter.add(root)
    _git(root, "add", ".")
    _git(root, "commit", "-qm", "first")
    _git(root, "tag", "v1")
    rows = [{"id": n, "prompt": f"a secret prompt {n}"} for n in range(1, 5)]
    _write(data / "ids.jsonl", [*rows[:2], rows[2] | {"prompt": "another"}, rows[3]])
    _write(data / "bare.jsonl", [{"answer": "x"}, {"answer": "y"}])
    (data / "gone.jsonl").unlink()
    _write(data / "new.jsonl", [{"id": 1}, {"id": 2}])
    (data / "notes.txt").write_text("two")
    dvc_adapter.add(root)
    _git(root, "commit", "-qam", "second")
    return root


def test_rows_are_counted_per_table_between_two_revisions(project: Path) -> None:
    found = diff(project, "v1", "HEAD")
    counts = {
        t["path"]: (t["state"], t["added"], t["removed"], t["changed"], t["same"]) for t in found["tables"]
    }
    assert counts == {
        "ids.jsonl": ("changed", 1, 1, 1, 2),  # 4 came, 0 went, 3 says otherwise, 1 and 2 stay
        "bare.jsonl": ("changed", 1, 1, 0, 1),
        "gone.jsonl": ("removed", 0, 1, 0, 0),
        "new.jsonl": ("added", 2, 0, 0, 0),
        "notes.txt": ("changed", None, None, None, None),
    }
    assert (found["added"], found["removed"], found["changed"], found["unchanged"]) == (4, 3, 1, 1)
    examples = next(t["examples"] for t in found["tables"] if t["path"] == "ids.jsonl")
    assert examples == {"added": ["4"], "removed": ["0"], "changed": ["3"]}
    assert "secret" not in json.dumps(found)
    assert "unknown kind of file" in next(t["told"] for t in found["tables"] if t["path"] == "notes.txt")


def test_a_version_is_named_by_revision_file_hash_or_its_beginning(project: Path) -> None:
    md5 = dvc_adapter.tracked_version(project / "data.dvc").md5
    for name in ("HEAD", "workspace", str(project / "data.dvc"), md5, md5.removesuffix(".dir"), md5[:8]):
        assert diff(project, "v1", name)["to"]["md5"] == md5
    assert diff(project, "HEAD")["tables"] == []


@pytest.mark.parametrize("name", ["v2", "--output=x", "0" * 8, "HEAD:", ""])
def test_a_version_that_is_not_there_is_named(project: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"no such data version; expected 'workspace'"):
        diff(project, name)


def test_rows_are_matched_by_a_text_that_is_never_shown(tmp_path: Path) -> None:
    _write(tmp_path / "data" / "a.jsonl", [{"prompt": "a secret prompt", "label": 0}])
    dvc_adapter.add(tmp_path)
    before = shutil.copy(tmp_path / "data.dvc", tmp_path / "before.dvc")
    _write(
        tmp_path / "data" / "a.jsonl",
        [{"prompt": "more", "label": 0}, {"prompt": "a secret prompt", "label": 1}],
    )
    (table,) = diff(tmp_path, str(before))["tables"]
    assert (table["key"], table["added"], table["changed"]) == ("prompt", 1, 1)
    assert table["examples"] == {"added": ["row 1"], "changed": ["row 2"]}


def test_an_older_version_is_fetched_from_the_remote_and_leaves_no_file(
    project: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "team", str(tmp_path / "remote")]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    data_sharing.push(project)
    clone = tmp_path / "clone"
    _git(tmp_path, "clone", "-q", str(project), str(clone))
    shutil.copy(project / ".dvc" / "config", clone / ".dvc" / "config")
    with pytest.raises(InputError, match="neither in DVC's cache nor on the remote"):
        diff(clone, "v1", "HEAD")  # only the second version was pushed
    before = sorted(clone.iterdir())
    assert diff(clone, "HEAD", "HEAD")["tables"] == [] and sorted(clone.iterdir()) == before
