"""The one place that knows DVC.

Reading a version needs no DVC at all: `data.dvc` is parsed, and the directory hash is computed here just as
DVC computes it (a test compares the two), in place, for exactly the files that a run reads. What changes the
workspace or the cache goes through DVC's command line, which alone it promises to keep, under a file lock.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from sear_core.errors import InputError

LOCK_SECONDS = 600


@dataclass(frozen=True)
class Tracked:
    """What a `.dvc` file says of its directory."""

    md5: str  # <32 hex digits>.dir
    path: str
    size: int  # bytes
    nfiles: int


def data_version(root: Path, paths: Iterable[str]) -> str:
    """DVC's directory hash, `<32 hex digits>.dir`, of the named files under `root`.

    With every file of a folder it is what `dvc add` writes for that folder. Raises InputError where a file is
    missing, unreadable or outside the root.
    """
    from sear_core.data.sources import resolve

    return _directory_hash({path: resolve(root, path) for path in paths})


def directory_version(folder: Path) -> str:
    """The same of all files below a folder."""
    return _directory_hash({path.relative_to(folder).as_posix(): path for path in _files(folder)})


def tracked_version(data_dvc: Path) -> Tracked:
    """What `data.dvc` says. Raises InputError where it is missing or not a `.dvc` file of one directory."""
    import yaml

    if not data_dvc.is_file():
        raise InputError(f"{data_dvc}: no such file; `dvc add data` writes it")
    try:
        out = yaml.safe_load(data_dvc.read_text(encoding="utf-8"))["outs"][0]
        tracked = Tracked(str(out["md5"]), str(out["path"]), int(out.get("size", 0)), int(out["nfiles"]))
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(
            f"{data_dvc}: not a .dvc file of one directory ({type(error).__name__}: {error})"
        ) from None
    if not tracked.md5.endswith(".dir"):
        raise InputError(f"{data_dvc}: md5 {tracked.md5!r}, expected a directory hash ending in .dir")
    return tracked


def matches(data_dvc: Path, root: Path) -> bool:
    """Whether the folder is, to the byte, what `data.dvc` says."""
    return directory_version(root) == tracked_version(data_dvc).md5


def add(project_root: Path) -> Tracked:
    """`dvc add data`: record data/ as it is now; data.dvc is then to be committed."""
    _dvc(project_root, "add", "data")
    return tracked_version(project_root / "data.dvc")


def pull(project_root: Path) -> None:
    """Bring data/ to what data.dvc says, from DVC's cache where it has all of it, else from the remote."""
    tracked = tracked_version(project_root / "data.dvc")
    if _cached_listing(project_root, tracked).is_file():
        try:
            return _dvc(project_root, "checkout", "data.dvc")
        except InputError:  # the cache has a part of it; the remote may have the rest
            pass
    _dvc(project_root, "pull", "data.dvc")


def ensure_sources(project_root: Path) -> None:
    """Have data/ in place, exactly as data.dvc says.

    Where data/ is absent: the embedded corpus is rebuilt and checked to the byte; where data.dvc lists more
    than that, the whole is pulled. Where data/embedded alone is absent it is rebuilt. Without a data.dvc only
    the embedded corpus is checked for. Raises InputError: a team's own files that cannot be had, data/ that
    differs from data.dvc, no write permission, no space.
    """
    from sear_core.data.corpus import expected_hashes

    data, pointer = project_root / "data", project_root / "data.dvc"
    tracked = tracked_version(pointer) if pointer.is_file() else None
    if not _present(data / "embedded"):
        try:
            with _lock(project_root):
                if tracked is not None and not data.exists() and tracked.nfiles > len(expected_hashes()):
                    _pull_own(project_root, tracked)
                if not _present(data / "embedded"):
                    _rebuild_embedded(data)
        except OSError as error:
            raise InputError(f"{data}: cannot be written: {error.strerror or error}") from error
    if tracked is None:
        return
    found = directory_version(data)
    if found != tracked.md5:
        raise InputError(
            f"{data}: differs from {pointer.name} (found {found}, expected {tracked.md5})"
            f"{_differences(project_root, tracked)}. "
            f"`dvc add data` records it as a new version; `dvc checkout data.dvc --force` takes it back"
        )


def _pull_own(project_root: Path, tracked: Tracked) -> None:
    try:
        pull(project_root)
    except InputError as error:
        raise InputError(
            f"data.dvc lists {tracked.nfiles} files, the team's own among them, that can neither be rebuilt "
            f"nor pulled: missing {_named(project_root, tracked)}. {error}. "
            f"Expected a DVC remote that has them (`dvc remote add -d NAME URL`)"
        ) from None


def _rebuild_embedded(data: Path) -> None:
    """Write data/embedded under another name, check it against the committed hashes, then rename it."""
    from sear_core.data.corpus import expected_hashes, write_sources

    data.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".embedded-", dir=data.parent))
    try:
        found, expected = write_sources(scratch), expected_hashes()
        if found != expected:
            wrong = sorted(
                name for name in expected.keys() | found.keys() if found.get(name) != expected.get(name)
            )
            raise InputError(
                f"the embedded corpus came out differently on this machine: {', '.join(wrong)}; expected the "
                f"hashes of sear_core/data/corpus_hashes.json"
            )
        scratch.chmod(0o755)
        scratch.rename(data / "embedded")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _present(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such directory")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _directory_hash(files: dict[str, Path]) -> str:
    listing = [{"md5": _md5(files[relative]), "relpath": relative} for relative in sorted(files)]
    text = json.dumps(listing, sort_keys=True).encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest() + ".dir"


def _md5(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _cached_listing(project_root: Path, tracked: Tracked) -> Path:
    return project_root / ".dvc" / "cache" / "files" / "md5" / tracked.md5[:2] / tracked.md5[2:]


def _listing(project_root: Path, tracked: Tracked) -> dict[str, str]:
    """The files of a version, {path: md5}, where DVC's cache knows them; else nothing."""
    try:
        entries = json.loads(_cached_listing(project_root, tracked).read_text(encoding="utf-8"))
        return {entry["relpath"]: entry["md5"] for entry in entries}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _named(project_root: Path, tracked: Tracked) -> str:
    from sear_core.data.corpus import expected_hashes

    own = sorted(name for name in _listing(project_root, tracked) if not name.startswith("embedded/"))
    if own:
        return ", ".join(f"data/{name}" for name in own[:10]) + (" …" if len(own) > 10 else "")
    return f"{tracked.nfiles - len(expected_hashes())} files beside data/embedded"


def _differences(project_root: Path, tracked: Tracked) -> str:
    """Which files differ, where that can be known: by DVC's listing, else by the corpus' hashes."""
    from sear_core.data.corpus import expected_hashes

    data = project_root / "data"
    listing = _listing(project_root, tracked)
    if listing:
        found = {path.relative_to(data).as_posix(): _md5(path) for path in _files(data)}
        wrong = sorted(name for name in listing.keys() | found.keys() if listing.get(name) != found.get(name))
    else:
        from sear_core.data.sources import file_sha256

        expected = {f"embedded/{name}": digest for name, digest in expected_hashes().items()}
        present = {path.relative_to(data).as_posix(): path for path in _files(data)}
        wrong = sorted(
            n for n, digest in expected.items() if n not in present or file_sha256(present[n]) != digest
        )
        if tracked.nfiles != len(present):
            wrong.append(f"{len(present)} files instead of {tracked.nfiles}")
    return f": {', '.join(wrong[:10])}" if wrong else ""


def _lock(project_root: Path) -> FileLock:
    folder = project_root / ".sear"
    folder.mkdir(exist_ok=True)
    return FileLock(folder / "data.lock", timeout=LOCK_SECONDS, is_singleton=True)  # re-entrant


def _dvc(project_root: Path, *arguments: str) -> None:
    """Run `dvc ARGUMENTS` of this environment. Raises InputError with DVC's own last words."""
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "NO_COLOR": "1"}
    with _lock(project_root):
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments, "--quiet"],
            cwd=project_root, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        said = [line for line in done.stderr.strip().splitlines() if line.strip()]
        reason = next((line for line in said if line.startswith("ERROR")), said[-1] if said else "no message")
        raise InputError(f"`dvc {' '.join(arguments)}` failed: {reason.removeprefix('ERROR: ')}")
