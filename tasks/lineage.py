"""Which code a run used: the git commit, and whether the tree was clean. By the git command, never by import."""

from __future__ import annotations

import subprocess
from pathlib import Path


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def git_tags(root: Path) -> dict[str, str]:
    """`git.commit` and `git.dirty`; "none" and "unknown" outside a repository."""
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain")
    return {
        "git.commit": commit or "none",
        "git.dirty": "unknown" if status is None else str(bool(status)).lower(),
    }
