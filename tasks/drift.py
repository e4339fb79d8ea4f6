"""How a data version differs from the one before: what of a version is kept for the comparison, and where.

A profile holds no text: per table its rows, category shares, median and mean prompt length, sources, and its
words as digests. The expectations that compare with it are in suites.py and only warn: a new version is meant
to differ, but a person should know by how much.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from statistics import fmean, median
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sear_core.data.dedup import canonical
from sear_core.errors import InputError
from sear_core.schema import CATEGORIES
from tasks.textless import Tables, words

MAX_WORDS = 20_000  # the most frequent ones of a table; our choice


class TableProfile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    rows: int
    shares: dict[str, float]  # category -> share
    median_chars: float  # of the prompts
    mean_chars: float
    sources: list[str]
    words: list[str]  # digests, sorted


class Profile(BaseModel):
    """Of a whole data version. `of`: the content hash of its prepared tables."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: int = 1
    of: str = ""
    tables: dict[str, TableProfile]

    def vocabularies(self) -> dict[str, set[str]]:
        return {name: set(table.words) for name, table in self.tables.items()}


def profile(tables: Tables, of: str = "") -> Profile:
    """The profile of tables that hold at least a row."""
    found = {}
    for name, (_, rows) in tables.items():
        if not rows:
            continue
        lengths = [len(str(row.get("prompt") or "")) for row in rows]
        seen = Counter(word for row in rows for word in words(canonical(str(row.get("prompt") or ""))))
        most = sorted(seen, key=lambda word: (-seen[word], word))[:MAX_WORDS]
        found[name] = TableProfile(
            rows=len(rows),
            shares={c: sum(row.get("category") == c for row in rows) / len(rows) for c in CATEGORIES},
            median_chars=median(lengths),
            mean_chars=fmean(lengths),
            sources=sorted({str(row.get("source")) for row in rows}),
            words=sorted(most),
        )
    return Profile(of=of, tables=found)


def read_profile(path: Path) -> Profile:
    """Raises InputError where the file is missing or no profile."""
    try:
        return Profile.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: no profile of a data version here: {error.strerror}") from None
    except (ValidationError, UnicodeDecodeError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise InputError(f"{path}: not a profile of a data version: {what}") from None


def previous_profile(store: Path, prepared: Path, of: str) -> Path | None:
    """The profile of the data version before this one: the newest one validated before these tables were made.

    Versions are compared where at least half of all their sources are the same: another preset's data is no
    earlier version. What is older stays older, so the answer does not change when a run is repeated.
    """
    made = _time(prepared.parent / "entry.json")
    sources = _sources(prepared)
    candidates: list[tuple[float, Path]] = []
    for path in store.glob("validate/*/out/profile.json"):
        at = _time(path.parents[1] / "entry.json")
        if at < made:
            candidates.append((at, path))
    for _, path in sorted(candidates, reverse=True):
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            theirs = {source for table in found["tables"].values() for source in table["sources"]}
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if found.get("of") != of and 2 * len(sources & theirs) >= len(sources | theirs):
            return path
    return None


def _sources(prepared: Path) -> set[str]:
    try:
        report = json.loads((prepared / "report.json").read_text(encoding="utf-8"))
        return {str(count["source"]) for count in report["counts"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _time(entry: Path) -> float:
    """When an entry of the store was written; one that is not there is the newest of all."""
    try:
        return entry.stat().st_mtime
    except OSError:
        return float("inf")
