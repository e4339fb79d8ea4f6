"""What changed between two data versions: files, and rows per table.

A version is named by `workspace` (data/ as it lies here), a `.dvc` file, a git revision, or DVC's hash (or its
first characters). Its files come from data/, DVC's cache or the remote, whichever has them. Rows are matched by
a column that names them where there is one; without one, a changed row is one removed and one added.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sear_core.errors import InputError
from tasks.dvc_adapter import (
    Tracked,
    cached_file,
    cached_listing,
    complete_in_cache,
    directory_hash,
    dvc,
    folder_listing,
    lock,
    parse_tracked,
    tracked_version,
)

WORKSPACE = "workspace"
NAMES = ("id", "uid", "key", "prompt_id", "row_id")  # shown as examples
TEXTS = ("prompt", "question", "instruction", "text")  # only matched by: examples are row numbers
EXAMPLES = 5


@dataclass(frozen=True)
class Version:
    """A data version whose files are at hand."""

    name: str
    md5: str
    listing: dict[str, str]  # path -> md5
    files: dict[str, Path]  # path -> where its bytes are now


def diff(project_root: Path, before: str, after: str = WORKSPACE) -> dict[str, Any]:
    """{from, to, tables: [{path, state, added, removed, changed, same, key, examples}], added, removed, changed}.

    `state` is added, removed or changed; files that are the same are only counted (`unchanged`). A file that is
    no table has null counts and says so in `told`. Raises InputError: no such version, or one whose files are
    neither here nor on the remote.
    """
    with tempfile.TemporaryDirectory(prefix="sear-diff-") as scratch:
        old, new = (resolve(project_root, name, Path(scratch) / side) for side, name in
                    (("before", before), ("after", after)))  # fmt: skip
        paths = sorted(old.listing.keys() | new.listing.keys())
        differing = [path for path in paths if old.listing.get(path) != new.listing.get(path)]
        tables = [_table(path, old.files.get(path), new.files.get(path)) for path in differing]
    sums = {key: sum(table[key] or 0 for table in tables) for key in ("added", "removed", "changed")}
    return {
        "schema_version": 1,
        "from": {"name": old.name, "md5": old.md5}, "to": {"name": new.name, "md5": new.md5},
        "tables": tables, "unchanged": len(paths) - len(differing), **sums,
    }  # fmt: skip


def resolve(project_root: Path, name: str, scratch: Path) -> Version:
    """A version by its name, with its files; what must be fetched goes to DVC's cache."""
    data = project_root / "data"
    here = folder_listing(data) if data.is_dir() else None
    if name == WORKSPACE:
        if here is None:
            raise InputError(f"{data}: no such directory; `sear data pull` brings it")
        return Version(name, directory_hash(here), here, {path: data / path for path in here})
    md5 = _md5_of(project_root, name)
    if here is not None and directory_hash(here) == md5:
        return Version(name, md5, here, {path: data / path for path in here})
    listing = cached_listing(project_root, md5)
    if not complete_in_cache(project_root, md5):
        _fetch(project_root, md5, name)
        listing = cached_listing(project_root, md5)
    files = {}
    for path, item in listing.items():  # readers tell a table's format by its name
        (scratch / path).parent.mkdir(parents=True, exist_ok=True)
        (scratch / path).symlink_to(cached_file(project_root, item))
        files[path] = scratch / path
    return Version(name, md5, listing, files)


def _md5_of(project_root: Path, name: str) -> str:
    if name.endswith(".dvc") and Path(name).is_file():
        return tracked_version(Path(name)).md5
    if re.fullmatch(r"[0-9a-f]{32}(\.dir)?", name):
        return f"{name.removesuffix('.dir')}.dir"
    found = _at_revision(project_root, name)
    if found is not None:
        return found.md5
    if re.fullmatch(r"[0-9a-f]{4,31}", name):
        folder = cached_file(project_root, name).parent
        known = [f"{name[:2]}{path.name}" for path in folder.glob(f"{name[2:]}*.dir")]
        if len(known) == 1:
            return known[0]
    raise InputError(
        f"{name!r}: no such data version; expected {WORKSPACE!r}, a .dvc file, a git revision with a data.dvc, or "
        f"a hash that DVC's cache has"
    )


def _at_revision(project_root: Path, revision: str) -> Tracked | None:
    """What data.dvc said at a git revision; None where that is no revision, or had none."""
    if not revision or revision.startswith("-"):
        return None
    shown = subprocess.run(
        ["git", "-C", str(project_root), "show", f"{revision}:./data.dvc"],
        capture_output=True, check=False,
    )  # fmt: skip
    if shown.returncode:
        return None
    return parse_tracked(shown.stdout.decode(errors="replace"), f"data.dvc at {revision}")


def _fetch(project_root: Path, md5: str, name: str) -> None:
    """Bring a version's files into DVC's cache by a `.dvc` file that is there only meanwhile."""
    pointer = project_root / f"sear-diff-{os.getpid()}.dvc"
    with lock(project_root):
        pointer.write_text(
            f"outs:\n- md5: {md5}\n  size: 0\n  nfiles: 1\n  hash: md5\n  path: sear-diff-{os.getpid()}\n"
        )
        try:
            dvc(project_root, "fetch", pointer.name)
            if not complete_in_cache(project_root, md5):  # DVC only warns of what a remote does not have
                raise InputError("no remote has all of them")
        except InputError as error:
            raise InputError(
                f"data version {name!r} ({md5}): its files are neither in DVC's cache nor on the remote: "
                + str(error).replace(pointer.name, "data.dvc")
            ) from None
        finally:
            pointer.unlink(missing_ok=True)


def _table(path: str, old: Path | None, new: Path | None) -> dict[str, Any]:
    """The rows of one file that came, went or changed."""
    state = "added" if old is None else "removed" if new is None else "changed"
    result: dict[str, Any] = {"path": path, "state": state, "told": "", "key": None, "examples": {}}
    try:
        key = _key(old, new)
        before, after = _rows(old, key), _rows(new, key)
    except InputError as error:
        told = re.sub(r"^\S*sear-diff-\S*?: ", "", str(error))
        return result | {"added": None, "removed": None, "changed": None, "same": None, "told": told}
    if key is None:
        return result | _by_content(before, after)
    added = [k for k in after if k not in before]
    removed = [k for k in before if k not in after]
    changed = [k for k in after if k in before and after[k][0] != before[k][0]]
    groups = {"added": (added, after), "removed": (removed, before), "changed": (changed, after)}
    return result | {
        "key": key, "same": len(after) - len(added) - len(changed),
        **{name: len(keys) for name, (keys, _) in groups.items()},
        "examples": {
            name: [rows[k][1] for k in keys[:EXAMPLES]] for name, (keys, rows) in groups.items() if keys
        },
    }  # fmt: skip


Rows = dict[bytes, tuple[bytes, str]]  # key -> digest of the whole row, how it is shown


def _by_content(before: Rows, after: Rows) -> dict[str, Any]:
    """Without a column that names rows: the same content is the same row."""
    then, now = (Counter(digest for digest, _ in rows.values()) for rows in (before, after))
    return {
        "added": (now - then).total(), "removed": (then - now).total(), "changed": 0, "same": (now & then).total(),
    }  # fmt: skip


def _rows(path: Path | None, key: str | None) -> Rows:
    """The rows of a file as digests: the index of a table is held, not the table."""
    from sear_core.data.dedup import printable
    from sear_core.data.readers import read_records

    found: Rows = {}
    if path is None:
        return found
    for number, record in read_records(path):
        name = str(number) if key is None else str(record.get(key))
        shown = printable(name) if key in NAMES else f"row {number}"
        found[_digest(name)] = (_digest(sorted(record.items(), key=lambda item: str(item[0]))), shown)
    return found


def _key(old: Path | None, new: Path | None) -> str | None:
    """The first column that names rows, in both files: always there, never twice."""
    from sear_core.data.readers import read_records

    chosen = [*NAMES, *TEXTS]
    for path in (old, new):
        if path is None:
            continue
        seen: dict[str, set[bytes]] = {name: set() for name in chosen}
        for _, record in read_records(path):
            for name in list(seen):
                digest = _digest(str(record.get(name)))
                if record.get(name) in (None, "") or digest in seen[name]:
                    del seen[name]
                else:
                    seen[name].add(digest)
            if not seen:
                return None
        chosen = [name for name in chosen if name in seen]
    return chosen[0] if chosen else None


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(repr(value).encode(errors="surrogatepass"), digest_size=16).digest()
