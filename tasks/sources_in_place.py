"""Having data/ in place, exactly as data.dvc says: pulled where a remote or the cache has it, else rebuilt.

Only the embedded corpus can be rebuilt, and it is checked to the byte; a team's own files are pulled, or named
as missing. Nothing here overwrites a file that differs.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from sear_core.errors import InputError
from tasks.dvc_adapter import (
    Tracked,
    cached_listing,
    complete_in_cache,
    directory_hash,
    directory_version,
    dvc,
    folder_listing,
    lock,
    remotes,
    tracked_version,
)


def ensure_sources(project_root: Path) -> None:
    """Have data/ in place, exactly as data.dvc says.

    Where data/ is absent: the embedded corpus is rebuilt and checked to the byte; where data.dvc lists more
    than that, or another version of it, the whole is pulled. Where data/embedded alone is absent it is
    rebuilt. Without a data.dvc only the embedded corpus is checked for. Raises InputError: a team's own files
    that cannot be had, data/ that differs from data.dvc, no write permission, no space.
    """
    data, pointer = project_root / "data", project_root / "data.dvc"
    tracked = tracked_version(pointer) if pointer.is_file() else None
    if not _complete(data, tracked):
        try:
            with lock(project_root):
                if tracked is not None and not data.exists():
                    restore(project_root, tracked)
                elif not _complete(data, tracked):  # another process may just have made it so
                    rebuild_embedded(data, tracked.md5 if tracked else None)
        except OSError as error:
            raise InputError(f"{data}: cannot be written: {error.strerror or error}") from error
    if tracked is not None and directory_version(data) != tracked.md5:
        with lock(project_root):  # another command may be changing both
            check_matches(project_root, tracked_version(pointer))


def missing_sources(project_root: Path) -> str:
    """Why a run would first rebuild or pull data/; "" where it is in place. Reads only.

    Raises InputError, as the run would, where data/ differs from data.dvc.
    """
    data, pointer = project_root / "data", project_root / "data.dvc"
    tracked = tracked_version(pointer) if pointer.is_file() else None
    if not _complete(data, tracked):
        return f"{data / 'embedded' if data.exists() else data} is absent; a run rebuilds or pulls it"
    if tracked is not None:
        check_matches(project_root, tracked)
    return ""


def check_matches(project_root: Path, tracked: Tracked) -> None:
    """Raises InputError where data/ is not what data.dvc says, naming the files where that can be known."""
    data = project_root / "data"
    found = directory_version(data)
    if found != tracked.md5:
        raise InputError(
            f"{data}: differs from data.dvc (found {found}, expected {tracked.md5})"
            f"{_differences(project_root, tracked)}. "
            f"`dvc add data` records it as a new version; `sear data pull --force` takes it back"
        )


def restore(project_root: Path, tracked: Tracked) -> None:
    """Bring an absent data/ back: the embedded corpus rebuilt where that is all, else pulled.

    Raises InputError where neither can be done, and says what is missing.
    """
    from sear_core.data.corpus import expected_hashes

    data, rebuilding = project_root / "data", ""
    if tracked.nfiles == len(expected_hashes()):  # maybe the corpus of another version of this code
        try:
            return rebuild_embedded(data, tracked.md5)
        except InputError as error:
            if not remotes(project_root) and not cached_listing(project_root, tracked.md5):
                raise
            rebuilding = f"; nor rebuilt: {error}"
    try:
        bring(project_root)
    except InputError as error:
        raise InputError(
            f"data.dvc lists {tracked.nfiles} files that can neither be rebuilt nor pulled: missing "
            f"{_named(project_root, tracked)}. {error}{rebuilding}. "
            f"Expected a DVC remote that has them (`dvc remote add -d NAME URL`)"
        ) from None


def bring(project_root: Path, *options: str) -> None:
    """Bring data/ to what data.dvc says, from DVC's cache where it has all of it, else from the remote."""
    tracked = tracked_version(project_root / "data.dvc")
    if not complete_in_cache(project_root, tracked.md5):
        dvc(project_root, "fetch", "data.dvc", *options)
    dvc(project_root, "checkout", "data.dvc")


def rebuild_embedded(data: Path, version: str | None = None) -> None:
    """Write data/embedded under another name, check it against the committed hashes, then rename it.

    `version`: what data/ must then hash to. Raises InputError, and leaves data/ as it is, where either comes out
    differently.
    """
    from sear_core.data.corpus import expected_hashes, write_sources

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
        if version is not None:
            rest = folder_listing(data) if data.exists() else {}
            made = {f"embedded/{name}": md5 for name, md5 in folder_listing(scratch).items()}
            if directory_hash(rest | made) != version:
                raise InputError(
                    f"{data}: with this code's embedded corpus it would be version "
                    f"{directory_hash(rest | made)}, but data.dvc is {version}"
                )
        scratch.chmod(0o755)
        data.mkdir(exist_ok=True)
        scratch.rename(data / "embedded")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _complete(data: Path, tracked: Tracked | None) -> bool:
    """Whether nothing is to be rebuilt or pulled: the embedded corpus is there, or it is not what is missing."""
    from sear_core.data.corpus import expected_hashes

    embedded = data / "embedded"
    if embedded.is_dir() and any(embedded.iterdir()):
        return True
    if tracked is None or not data.is_dir():
        return False
    return len(folder_listing(data)) + len(expected_hashes()) != tracked.nfiles


def _named(project_root: Path, tracked: Tracked) -> str:
    """The files that cannot be rebuilt, by name where DVC's cache still lists them."""
    from sear_core.data.corpus import expected_hashes

    listing = cached_listing(project_root, tracked.md5)
    own = sorted(name for name in listing if not name.startswith("embedded/"))
    if own:
        return ", ".join(f"data/{name}" for name in own[:10]) + (" …" if len(own) > 10 else "")
    beside = tracked.nfiles - len(expected_hashes())
    return f"{beside} files beside data/embedded" if beside > 0 else "an earlier data/embedded"


def _differences(project_root: Path, tracked: Tracked) -> str:
    """Which files differ, where that can be known: by DVC's listing, else by the corpus' hashes."""
    from sear_core.data.corpus import expected_hashes

    data = project_root / "data"
    listing, found = cached_listing(project_root, tracked.md5), folder_listing(data)
    if listing:
        wrong = sorted(name for name in listing.keys() | found.keys() if listing.get(name) != found.get(name))
    else:
        from sear_core.data.sources import file_sha256

        expected = {f"embedded/{name}": digest for name, digest in expected_hashes().items()}
        wrong = sorted(
            n for n, digest in expected.items() if n not in found or file_sha256(data / n) != digest
        )
        if tracked.nfiles != len(found):
            wrong.append(f"{len(found)} files instead of {tracked.nfiles}")
    return f": {', '.join(wrong[:10])}" if wrong else ""
