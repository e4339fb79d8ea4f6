"""Which code a run used: the git commit, and whether the tree was clean. By the git command, never by import."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from sear_core.errors import InputError

# Never part of a recorded tree, should they lie in it unignored.
SECRETS = (".env*", "*.env", "*.pem", "*.key", "*secret*", "*credential*", "*token*.txt", "*.local")
PATCH_LIMIT = 20 << 20  # bytes; a larger change belongs into a commit
LIBRARIES = (
    "torch", "transformers", "trl", "accelerate", "peft", "tokenizers", "numpy", "pandas", "pyarrow", "scipy",
    "datasketch", "mlflow", "prefect",
)  # fmt: skip


def _git(root: Path, *arguments: str, environment: dict[str, str] | None = None) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=60,
            env=os.environ | (environment or {}),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout if done.returncode == 0 else None


def git_tags(root: Path) -> dict[str, str]:
    """`git.commit` and `git.dirty`; "none" and "unknown" outside a repository."""
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain")
    return {
        "git.commit": (commit or "none").strip(),
        "git.dirty": "unknown" if status is None else str(bool(status.strip())).lower(),
    }


def tree_patch(root: Path) -> str:
    """All that differs from the commit, new files too, as a git patch; "" where nothing does or it is too large.

    Without ignored files and SECRETS. The repository is only read: index and objects are temporary ones.
    """
    new = (_git(root, "ls-files", "--others", "--exclude-standard", "--full-name", "-z", ":/") or "").split(
        "\0"
    )
    top = Path((_git(root, "rev-parse", "--show-toplevel") or "").strip() or root)
    if sum((top / name).lstat().st_size for name in new if name and (top / name).is_file()) > PATCH_LIMIT:
        return ""
    objects = (_git(root, "rev-parse", "--path-format=absolute", "--git-path", "objects") or "").strip()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "objects").mkdir()
        own = {
            "GIT_INDEX_FILE": str(Path(folder) / "index"), "GIT_OBJECT_DIRECTORY": str(Path(folder) / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects,
        }  # fmt: skip
        left_out = [f":(exclude,glob)**/{pattern}" for pattern in SECRETS]
        for arguments in (["read-tree", "HEAD"], ["add", "-A", "--", ":/", *left_out]):
            if _git(root, *arguments, environment=own) is None:
                return ""
        patch = _git(root, "diff", "--cached", "--binary", "HEAD", environment=own) or ""
    return patch if len(patch) <= PATCH_LIMIT else ""


def environment() -> dict[str, str]:
    """The libraries and the hardware that decide a result's last bits."""
    found = {name: metadata.version(name) for name in LIBRARIES}
    processor = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return found | {"python": platform.python_version(), "processor": processor, "cores": str(cores),
                    "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "")}  # fmt: skip


@contextmanager
def worktree(root: Path, folder: Path, ref: str, branch: str = "") -> Iterator[Path]:
    """A git worktree of its own at `folder`, at a commit or on a branch (made where it is absent), removed at the end.

    DVC's cache there is the project's own. Raises InputError where git cannot make it.
    """
    if folder.exists():  # of a run that was killed
        _git(root, "worktree", "remove", "--force", str(folder))
        shutil.rmtree(folder, ignore_errors=True)
    _git(root, "worktree", "prune")
    folder.parent.mkdir(parents=True, exist_ok=True)
    if branch:
        known = _git(root, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}") is not None
        where = [str(folder), branch] if known else ["-b", branch, str(folder), ref]
        made = _git(root, "worktree", "add", "--force", *where)
    else:
        made = _git(root, "worktree", "add", "--force", "--detach", str(folder), ref)
    if made is None:
        raise InputError(
            f"{root}: git cannot make a worktree at {branch or ref} (is the commit here? `git fetch`)"
        )
    try:
        if (folder / ".dvc").is_dir():
            (folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {root / '.dvc' / 'cache'}\n")
        yield folder
    finally:
        _git(root, "worktree", "remove", "--force", str(folder))


def commit(folder: Path, paths: list[str], message: str) -> str:
    """Commit those paths where they have changed; returns the commit that is there afterwards."""
    own = ("-c", "user.name=sear", "-c", "user.email=sear@localhost")
    _git(folder, "add", "--", *paths)
    if _git(folder, "diff", "--cached", "--quiet") is None and (
        _git(folder, *own, "commit", "-m", message, "--", *paths) is None
    ):
        raise InputError(f"{folder}: git cannot commit {', '.join(paths)}")
    return (_git(folder, "rev-parse", "HEAD") or "none").strip()


def apply_patch(folder: Path, patch: Path) -> None:
    """Apply a recorded tree_patch. Raises InputError where it does not fit."""
    if _git(folder, "apply", "--whitespace=nowarn", str(patch)) is None:
        raise InputError(f"{patch.name}: the recorded changes cannot be applied to the recorded commit")
