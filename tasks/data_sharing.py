"""Sharing data versions through DVC's remotes: status, push, pull."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sear_core.errors import InputError
from tasks.dvc_adapter import (
    add,
    cached_listing,
    complete_in_cache,
    directory_version,
    dvc,
    folder_listing,
    lock,
    remotes,
    tracked_version,
)
from tasks.sources_in_place import bring, check_matches, restore


def status(project_root: Path, remote: str | None = None, ask_remote: bool = True) -> dict[str, Any]:
    """The version that data.dvc names, and how data/, DVC's cache and the remote stand to it.

    {version, files, bytes, data: same | different | absent, changes: {added, removed, modified}, cached,
    remote: {name, url, has: true | false | null, told}}; changes are null where DVC's cache does not list the
    version's files, `has` is null where the remote was not asked or did not answer (`told` says what it said).
    """
    tracked, data = tracked_version(project_root / "data.dvc"), project_root / "data"
    listing = cached_listing(project_root, tracked.md5)
    state, changes = "absent", None
    if data.is_dir():
        found = folder_listing(data)
        state = "same" if directory_version(data) == tracked.md5 else "different"
        if listing or state == "same":
            changes = _changes(listing or found, found)
    result = {
        "schema_version": 1,
        "version": tracked.md5, "files": tracked.nfiles, "bytes": tracked.size,
        "data": state, "changes": changes, "cached": complete_in_cache(project_root, tracked.md5), "remote": None,
    }  # fmt: skip
    known = remotes(project_root)
    if known:
        name = _remote(known, remote)
        has, told = None, "not asked"
        if ask_remote:
            unlisted = (None, "which files it should have is not known here; `sear data pull` asks for them")
            has, told = _asked(project_root, name) if listing else unlisted
        result["remote"] = {"name": name, "url": known[name], "has": has, "told": told}
    return result


def push(project_root: Path, remote: str | None = None) -> dict[str, Any]:
    """Send the version that data.dvc names to a remote, whole. Returns {version, files, remote}.

    Raises InputError: no remote, data/ that differs from data.dvc, a version that is not here, a remote that
    cannot be reached.
    """
    name = _remote(remotes(project_root), remote)
    with lock(project_root):
        tracked, data = tracked_version(project_root / "data.dvc"), project_root / "data"
        if data.is_dir():
            check_matches(project_root, tracked)
        if not complete_in_cache(project_root, tracked.md5):
            if not data.is_dir():
                restore(project_root, tracked)
            before = (project_root / "data.dvc").read_bytes()
            add(project_root)  # a rebuilt corpus is not in the cache yet; the version stays the same
            (project_root / "data.dvc").write_bytes(before)
        dvc(project_root, "push", "data.dvc", "--remote", name)
    return {"schema_version": 1, "version": tracked.md5, "files": tracked.nfiles, "remote": name}


def pull(project_root: Path, remote: str | None = None, force: bool = False) -> dict[str, Any]:
    """Have data/ as data.dvc says. Returns {version, files, changed}: whether anything had to be done.

    Files that differ from data.dvc's, or that it does not list, are only overwritten or removed by `force`.
    Raises InputError: those, or files that no remote has.
    """
    if remote is not None:
        _remote(remotes(project_root), remote)
    with lock(project_root):
        tracked, data = tracked_version(project_root / "data.dvc"), project_root / "data"
        result = {"schema_version": 1, "version": tracked.md5, "files": tracked.nfiles, "changed": True}
        if not data.exists() and remote is None:
            restore(project_root, tracked)
        elif data.is_dir() and directory_version(data) == tracked.md5:
            return result | {"changed": False}
        else:
            options = ("--remote", remote) if remote else ()
            if not complete_in_cache(project_root, tracked.md5):
                dvc(project_root, "fetch", "data.dvc", *options)
                if not complete_in_cache(project_root, tracked.md5):  # DVC only warns of what a remote lacks
                    raise InputError(
                        f"data.dvc ({tracked.md5}): no remote has all of its {tracked.nfiles} files"
                    )
            found = folder_listing(data) if data.is_dir() else {}
            changes = _changes(cached_listing(project_root, tracked.md5), found)
            mine = [*changes["modified"], *changes["added"]]
            if mine and not force:
                raise InputError(
                    f"{data}: {', '.join(mine[:10])}: not as in data.dvc; `sear data pull --force` gives them up"
                )
            if mine:
                dvc(project_root, "checkout", "data.dvc", "--force")
            else:
                bring(project_root, *options)
        check_matches(project_root, tracked)
    return result


def _changes(then: dict[str, str], now: dict[str, str]) -> dict[str, list[str]]:
    """Files by what became of them."""
    return {
        "added": sorted(now.keys() - then.keys()),
        "removed": sorted(then.keys() - now.keys()),
        "modified": sorted(name for name in then.keys() & now.keys() if then[name] != now[name]),
    }


def _remote(known: dict[str, str], wanted: str | None) -> str:
    """The remote of that name, else the default one."""
    if not known:
        raise InputError("no DVC remote is configured; expected one (`dvc remote add -d NAME URL`)")
    if wanted is None:
        return next(iter(known))
    if wanted not in known:
        raise InputError(f"--remote {wanted!r}: no such DVC remote; there are: {', '.join(known)}")
    return wanted


def _asked(project_root: Path, remote: str) -> tuple[bool | None, str]:
    """Whether a remote has the whole version; None and why, where it does not answer."""
    try:
        out = dvc(project_root, "status", "--json", "--remote", remote, "data.dvc")
        missing = json.loads(out)
    except InputError as error:
        return None, str(error)
    except json.JSONDecodeError:
        return None, out.strip()[:300]
    return not missing, f"{len(missing)} files or more are not there" if missing else ""
