"""What of a working tree is recorded, and that a worktree of its own leaves the user's alone."""

import subprocess

import pytest

from sear_core.errors import InputError
from tasks import lineage


@pytest.fixture
def repository(tmp_path):
    """One commit with a file and a .gitignore."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "code.py").write_text("a = 1\n")
    (root / ".gitignore").write_text("ignored/\n")
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "start"]):
        own = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", root, *own, *arguments], check=True)
    return root


def test_a_patch_holds_changes_and_new_files_but_nothing_ignored_and_no_secrets(repository, tmp_path):
    assert lineage.tree_patch(repository) == "" and lineage.git_tags(repository)["git.dirty"] == "false"
    (repository / "code.py").write_text("a = 2\n")
    (repository / "new.bin").write_bytes(bytes(range(256)))
    for name in ("ignored/x", ".env", "deep/.env.local", "deep/server.pem", "my-secret.txt"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text("hidden")
    patch = lineage.tree_patch(repository)
    assert "a = 2" in patch and "new.bin" in patch
    assert not [name for name in ("ignored", ".env", "server.pem", "secret") if name in patch]
    staged = subprocess.run(["git", "-C", repository, "diff", "--cached", "--name-only"], capture_output=True)
    assert staged.stdout == b""  # the user's index is as it was
    (repository / "large").write_bytes(bytes(lineage.PATCH_LIMIT + 1))
    assert lineage.tree_patch(repository) == ""  # too much for an artifact
    (repository / "large").unlink()
    (tmp_path / "tree.patch").write_text(patch)
    commit = lineage.git_tags(repository)["git.commit"]
    with lineage.worktree(repository, tmp_path / "again", commit) as tree:
        assert (tree / "code.py").read_text() == "a = 1\n"
        lineage.apply_patch(tree, tmp_path / "tree.patch")
        assert (tree / "code.py").read_text() == "a = 2\n"
        assert (tree / "new.bin").read_bytes() == bytes(range(256))
        with pytest.raises(InputError, match="cannot be applied"):
            lineage.apply_patch(tree, tmp_path / "tree.patch")
    assert not (tmp_path / "again").exists()


def test_data_is_committed_on_a_branch_of_its_own_and_only_when_it_has_changed(repository, tmp_path):
    before = lineage.git_tags(repository)["git.commit"]
    commits = []
    for text in ("one", "one", "two"):
        with lineage.worktree(repository, tmp_path / "data", "HEAD", "data-branch") as tree:
            (tree / "data.dvc").write_text(text)
            commits.append(lineage.commit(tree, ["data.dvc"], "New data"))
    assert commits[0] == commits[1] != commits[2] and before not in commits
    assert lineage.git_tags(repository)["git.commit"] == before and not (repository / "data.dvc").exists()
    with (
        pytest.raises(InputError, match="is the commit here"),
        lineage.worktree(repository, tmp_path / "w", "beef"),
    ):
        pass
