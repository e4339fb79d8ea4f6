"""The one place that knows DVC.

Reading a version needs no DVC at all: `data.dvc` is parsed, and the directory hash is computed here just as
DVC computes it (a test compares the two), in place, for exactly the files that a run reads. What changes the
workspace or the cache goes through DVC's command line, which alone it promises to keep, under a file lock.
What is done with versions is in sources_in_place.py, data_sharing.py and data_diff.py.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from sear_core.errors import InputError
from tasks.secrets import public

LOCK_SECONDS = 600
PATIENCE_SECONDS = 10.0  # after which a person is told what is being waited for


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
    from sear_core.data.sources import source_files

    return directory_hash({path: md5_of(file) for path, file in source_files(root, paths).items()})


def directory_version(folder: Path) -> str:
    """The same of all files below a folder."""
    return directory_hash(folder_listing(folder))


def folder_listing(folder: Path) -> dict[str, str]:
    """{relative path: md5} of all files below a folder."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such directory")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): md5_of(path) for path in files}


def directory_hash(listing: dict[str, str]) -> str:
    """DVC's hash of a directory with these files."""
    entries = [{"md5": listing[relative], "relpath": relative} for relative in sorted(listing)]
    text = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest() + ".dir"


def md5_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def tracked_version(data_dvc: Path) -> Tracked:
    """What `data.dvc` says. Raises InputError where it is missing or not a `.dvc` file of one directory."""
    if not data_dvc.is_file():
        raise InputError(f"{data_dvc}: no such file; `dvc add data` writes it")
    try:
        text = data_dvc.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{data_dvc}: not a .dvc file of one directory ({error})") from None
    return parse_tracked(text, str(data_dvc))


def parse_tracked(text: str, name: str) -> Tracked:
    """The same of a `.dvc` file's text; `name` is for the message."""
    import yaml

    try:
        out = yaml.safe_load(text)["outs"][0]
        tracked = Tracked(str(out["md5"]), str(out["path"]), int(out.get("size", 0)), int(out["nfiles"]))
    except (yaml.YAMLError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(
            f"{name}: not a .dvc file of one directory ({type(error).__name__}: {error})"
        ) from None
    if not re.fullmatch(r"[0-9a-f]{32}\.dir", tracked.md5):
        raise InputError(f"{name}: md5 {tracked.md5!r}, expected a directory hash ending in .dir")
    return tracked


def matches(data_dvc: Path, root: Path) -> bool:
    """Whether the folder is, to the byte, what `data.dvc` says."""
    return directory_version(root) == tracked_version(data_dvc).md5


def add(project_root: Path) -> Tracked:
    """`dvc add data`: record data/ as it is now; data.dvc is then to be committed."""
    dvc(project_root, "add", "data")
    return tracked_version(project_root / "data.dvc")


def cached_file(project_root: Path, md5: str) -> Path:
    """Where DVC's cache keeps, or would keep, what has this hash."""
    folder = Path(_settings(project_root).get("cache", "dir", fallback="cache"))
    return project_root / ".dvc" / folder / "files" / "md5" / md5[:2] / md5[2:]


def cached_listing(project_root: Path, md5: str) -> dict[str, str]:
    """The files of a version, {path: md5}, where DVC's cache knows them; else nothing."""
    try:
        entries = json.loads(cached_file(project_root, md5).read_text(encoding="utf-8"))
        return {entry["relpath"]: entry["md5"] for entry in entries}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def complete_in_cache(project_root: Path, md5: str) -> bool:
    """Whether DVC's cache has a version with all its files."""
    listing = cached_listing(project_root, md5)
    return bool(listing) and all(cached_file(project_root, item).is_file() for item in listing.values())


def remotes(project_root: Path) -> dict[str, str]:
    """{name: URL} of DVC's remotes, the default one first; no user, password or token in the URL."""
    settings = _settings(project_root)
    found = {}
    for section in settings.sections():
        if match := re.fullmatch(r"""'?remote "(.+)"'?""", section):
            found[match[1]] = public(settings.get(section, "url", fallback=""))
    default = settings.get("core", "remote", fallback="")
    return dict(sorted(found.items(), key=lambda item: (item[0] != default, item[0])))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def lock(project_root: Path) -> Iterator[None]:
    """Hold the project's data lock (re-entrant); who has to wait is told so.

    Raises InputError where another process holds it for longer than LOCK_SECONDS.
    """
    folder = project_root / ".sear"
    folder.mkdir(exist_ok=True)
    held = FileLock(folder / "data.lock", is_singleton=True)
    try:
        held.acquire(timeout=1)
    except Timeout:
        say(f"waiting for another process that works on {project_root / 'data'} …")
        try:
            held.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise InputError(
                f"{folder / 'data.lock'}: another process has held it for {LOCK_SECONDS} s; "
                f"expected it to end, or to be ended"
            ) from None
    try:
        yield
    finally:
        held.release()


def dvc(project_root: Path, *arguments: str) -> str:
    """Run `dvc ARGUMENTS` of this environment; its output. Raises InputError with DVC's own last words."""
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "NO_COLOR": "1"}
    with lock(project_root):
        _initialise(project_root)
        with subprocess.Popen(
            [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments],
            cwd=project_root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            try:
                out, err = process.communicate(timeout=PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                say(f"`dvc {arguments[0]}` is at work, or waits for another dvc command …")
                out, err = process.communicate()
    if process.returncode:
        said = [line for line in err.strip().splitlines() if line.strip()]
        reason = next((line for line in said if line.startswith("ERROR")), said[-1] if said else "no message")
        raise InputError(f"`dvc {' '.join(arguments)}` failed: {public(reason.removeprefix('ERROR: '))}")
    return out


def in_git(project_root: Path) -> bool:
    return any((folder / ".git").exists() for folder in (project_root, *project_root.parents))


def _initialise(project_root: Path) -> None:
    """Make DVC work here: without a .dvc folder, and without git where there is none."""
    folder = project_root / ".dvc"
    if not folder.is_dir():
        how = ["--no-scm"]
        if in_git(project_root):
            how = [] if (project_root / ".git").exists() else ["--subdir"]
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "init", "--quiet", *how],
            cwd=project_root, env=os.environ | {"DVC_NO_ANALYTICS": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise InputError(f"{folder}: `dvc init` failed: {done.stderr.strip()[-300:]}")
    elif not in_git(project_root) and not _settings(project_root).getboolean(
        "core", "no_scm", fallback=False
    ):
        own = _parser(folder / "config.local")
        if not own.has_section("core"):
            own.add_section("core")
        own.set("core", "no_scm", "true")
        with (folder / "config.local").open("w", encoding="utf-8") as file:
            own.write(file)


def _settings(project_root: Path) -> configparser.ConfigParser:
    """The project's DVC configuration: what is committed, and what is this checkout's own over it."""
    return _parser(project_root / ".dvc" / "config", project_root / ".dvc" / "config.local")


def _parser(*files: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(files, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise InputError(f"{files[0].parent}: DVC's configuration cannot be read: {error}") from None
    return parser
