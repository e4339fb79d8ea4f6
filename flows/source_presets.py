"""`preset = "xstest"` in a source table: the field's public sets, one TOML file each under presets/sources/.

A file has what holds wherever the set lies, and how it is read from a file (`[file]`) and from the hub (`[hub]`).
A source table takes the file where there is one; `via = "hub"` takes the hub. Its own keys win; its own tables
(`columns`, …) replace those of the preset.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from sear_core.errors import InputError

SOURCES = Path(__file__).parent / "presets" / "sources"


def source_presets() -> list[str]:
    return sorted(path.stem for path in SOURCES.glob("*.toml"))


def expand(table: Any) -> Any:
    """A source table with its preset filled in; anything else as it is. Raises InputError: no such preset or way."""
    if not isinstance(table, dict) or "preset" not in table:
        return table
    own = dict(table)
    name, via = own.pop("preset"), own.pop("via", None)
    file = SOURCES / f"{name}.toml"
    if name not in source_presets():
        close = difflib.get_close_matches(str(name), source_presets(), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InputError(
            f"data.sources: preset {name!r} does not exist; {hint}there are: {', '.join(source_presets())}"
        )
    preset = tomllib.loads(file.read_text(encoding="utf-8"))
    preset.pop("homepage")
    ways = {way: preset.pop(way) for way in ("file", "hub") if isinstance(preset.get(way), dict)}
    chosen = via or ("hub" if "hub" in own else next(iter(ways)))
    if chosen not in ways:
        raise InputError(f"data.sources: preset {name!r}: via = {via!r}, expected {' or '.join(ways)}")
    way = dict(ways[chosen])
    if "path" in own:  # the same rows, downloaded
        for key in ("hub", "subset", "part", "revision"):
            way.pop(key, None)
    return {"name": name, **preset, **way, **own}
