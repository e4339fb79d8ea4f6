"""The store: each stage's output under a key of all that it depends on, believed only after its hashes check.

    .sear/store/<stage>/<key>/entry.json, out/...

An output is computed in `<key>.partial` (kept after a kill, so that training resumes there) and renamed when it
is whole: what has no `entry.json` under its final name was never finished. Prefect's own result cache is not
used: it keeps the returned value and never looks at the files that it names (docs/decisions.md).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

SCHEMA_VERSION = 1
STALE_SECONDS = 14 * 86400.0  # of a broken-off try; `sear clean` removes younger ones


@dataclass(frozen=True)
class Parts:
    """All that a stage's output depends on; each part is kept, so that a change can be named."""

    stage: str
    section: dict[str, Any]
    inputs: dict[str, str]  # stage -> content hash
    code: dict[str, str]  # file -> hash
    libraries: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "section": self.section, "inputs": self.inputs, "code": self.code, "libraries": self.libraries,
        }  # fmt: skip

    @property
    def key(self) -> str:
        """32 hex digits."""
        text = json.dumps([SCHEMA_VERSION, self.stage, self.as_dict()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def md5_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def file_hashes(folder: Path) -> dict[str, str]:
    """{path relative to the folder: md5} of every file below it, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): md5_file(path) for path in files}


def newest(folder: Path) -> float:
    """When the folder or anything below it was last written, in seconds since the epoch."""
    return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))


def content_hash(files: dict[str, str], essential: tuple[str, ...]) -> str:
    """One md5 over the files that later stages read (prefixes), so that timings in a log do not count."""
    kept = {name: md5 for name, md5 in files.items() if not essential or name.startswith(essential)}
    return hashlib.md5(json.dumps(kept, sort_keys=True).encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Lookup:
    """hit: the verified entry, or None; reason: why, in words."""

    hit: dict[str, Any] | None
    reason: str


class Store:
    def __init__(self, root: Path, locks: Path) -> None:
        self.root, self.locks = root, locks

    def entry_dir(self, parts: Parts) -> Path:
        return self.root / parts.stage / parts.key

    def out(self, parts: Parts) -> Path:
        return self.entry_dir(parts) / "out"

    def partial(self, parts: Parts) -> Path:
        return self.root / parts.stage / f"{parts.key}.partial"

    def lock(self, parts: Parts) -> FileLock:
        return self._lock(parts.stage, parts.key)

    def _lock(self, stage: str, key: str) -> FileLock:
        self.locks.mkdir(parents=True, exist_ok=True)
        return FileLock(self.locks / f"{stage}-{key}.lock")

    def sweep(self, older_than: float = STALE_SECONDS) -> list[Path]:
        """Remove replaced outputs that a kill has left, and tries that nobody took up for `older_than` seconds."""
        swept = []
        for path in [*self.root.glob("*/*.old-*"), *self.root.glob("*/*.partial")]:
            lock = self._lock(path.parent.name, path.name.partition(".")[0])
            with suppress(Timeout, OSError), lock.acquire(timeout=0):
                if path.suffix != ".partial" or time.time() - newest(path) > older_than:
                    shutil.rmtree(path)
                    swept.append(path)
        return swept

    def lookup(self, parts: Parts) -> Lookup:
        """The entry of these parts if it is there and every file is what was written."""
        path = self.entry_dir(parts) / "entry.json"
        try:
            entry = json.loads(path.read_text())
        except FileNotFoundError:
            return Lookup(None, self._what_changed(parts))
        except (OSError, json.JSONDecodeError):
            return Lookup(None, f"cached entry unreadable: {path}")
        if entry.get("schema_version") != SCHEMA_VERSION:
            return Lookup(None, "cached entry is of another schema version")
        found = file_hashes(self.out(parts))
        for name, md5 in entry["files"].items():
            if name not in found:
                return Lookup(None, f"cached output damaged: {name} is gone")
            if found[name] != md5:
                return Lookup(None, f"cached output damaged: {name} has changed")
        return Lookup(entry, "unchanged")

    def holding(self, stages: str, md5: str, section: dict[str, Any], inputs: dict[str, str]) -> Path | None:
        """The verified output of a stage matching the glob, with this content; section and inputs: at least these."""
        for path in self.root.glob(f"{stages}/*/entry.json"):
            try:
                entry = json.loads(path.read_text())
                parts = entry["parts"]
            except (OSError, ValueError, KeyError):
                continue
            same = section.items() <= parts["section"].items() and inputs.items() <= parts["inputs"].items()
            out = path.parent / "out"
            if same and entry["handle"]["md5"] == md5 and file_hashes(out) == entry["files"]:
                return out
        return None

    def _what_changed(self, parts: Parts) -> str:
        """Compare with the newest entry of the same stage; name the differences."""
        entries = sorted(
            (self.root / parts.stage).glob("*/entry.json"),
            key=lambda path: path.stat().st_mtime,
            reverse=True,
        )
        for path in entries:
            try:
                before = json.loads(path.read_text())["parts"]
            except (OSError, json.JSONDecodeError, KeyError):
                continue
            changes = describe_changes(before, parts.as_dict())
            return "; ".join(changes) if changes else "cached output removed"
        return "never run"

    def commit(self, parts: Parts, handle: dict[str, Any], essential: tuple[str, ...]) -> dict[str, Any]:
        """Hash a partial output, write its entry and rename it into place; returns the entry."""
        partial, final = self.partial(parts), self.entry_dir(parts)
        files = file_hashes(partial / "out")
        entry = {
            "schema_version": SCHEMA_VERSION,
            "parts": parts.as_dict(),
            "files": files,
            "handle": {"md5": content_hash(files, essential), **handle},
        }
        temporary = partial / "entry.json.tmp"
        temporary.write_text(json.dumps(entry, indent=1, sort_keys=True))
        temporary.rename(partial / "entry.json")
        if final.exists():  # damaged, or forced anew
            grave = final.with_name(f"{final.name}.old-{os.getpid()}")
            final.rename(grave)
            shutil.rmtree(grave)
        partial.rename(final)
        return entry


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): value}


def describe_changes(before: dict[str, Any], now: dict[str, Any], limit: int = 3) -> list[str]:
    """The differences of two entries' parts, in words, a few of each kind."""
    words = {"section": "config", "inputs": "input", "code": "code", "libraries": "library"}
    changes: list[str] = []
    for part, word in words.items():
        old, new = _flat(before.get(part, {})), _flat(now.get(part, {}))
        names = [name for name in sorted({*old, *new} - {""}) if old.get(name) != new.get(name)]
        for name in names[:limit]:
            if part in ("section", "libraries"):
                changes.append(f"{word} {name}: {_short(old.get(name))} → {_short(new.get(name))}")
            else:
                changes.append(f"{word} {name} changed")
        if len(names) > limit:
            changes.append(f"and {len(names) - limit} more of {word}")
    return changes


def _short(value: Any, width: int = 32) -> str:
    text = "none" if value is None else json.dumps(value)
    return text if len(text) <= width else text[: width - 1] + "…"
