"""Suites: from rows of the table `evaluation` to typed, checked suite rows. Our choice throughout.

The first hand-over of the way of a row: suite row -> completion -> verdict -> metric -> table.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sear_core.errors import InputError
from sear_core.schema import CATEGORIES, Category


@dataclass(frozen=True)
class SuiteRow:
    """One prompt to be answered, and the texts with which attacks try it (empty: none known)."""

    id: str
    prompt: str
    category: Category
    source: str = ""
    slice: str = ""
    suite: str = ""
    harmful_reasoning: str = ""
    benign_reasoning: str = ""
    affirmative: str = ""
    reference: str = ""  # the right answer, where there is one (capability.py)


def from_table(rows: Iterable[Mapping[str, Any]]) -> list[SuiteRow]:
    """Rows of the table `evaluation` (schema.py) as suite rows, in their order; a null text counts as empty.

    Raises InputError for a row without id, prompt or category, or of an unknown category.
    """
    suite = []
    for number, row in enumerate(rows):
        missing = [name for name in ("id", "prompt", "category") if not str(row.get(name) or "").strip()]
        if missing:
            raise InputError(
                f"evaluation row {number} (id {row.get('id')!r}) has no {missing[0]}; "
                f"expected a non-empty text in the columns id, prompt and category"
            )
        if row["category"] not in CATEGORIES:
            raise InputError(
                f"evaluation row {row['id']!r}: category {row['category']!r}, "
                f"expected one of {', '.join(CATEGORIES)}"
            )
        fields: dict[str, Any] = {name: row.get(name) or "" for name in SuiteRow.__dataclass_fields__}
        suite.append(SuiteRow(**fields))
    return suite


def choose(rows: Sequence[SuiteRow], names: Sequence[str]) -> list[SuiteRow]:
    """The rows of the named suites; of all where none is named.

    Raises InputError for a name that no row has, with the nearest right one.
    """
    if not names:
        return list(rows)
    known = sorted({row.suite for row in rows})
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            raise InputError(
                f"evaluation.suites: {name!r} is no suite of the evaluation table"
                f"{f'; did you mean {near[0]!r}?' if near else ''}; "
                f"there are: {', '.join(repr(suite) for suite in known) or 'none'}"
            )
    return [row for row in rows if row.suite in names]


def counts(rows: Sequence[SuiteRow]) -> dict[str, dict[str, int]]:
    """{suite: {category: prompts}}."""
    found: dict[str, Counter[str]] = {}
    for row in rows:
        found.setdefault(row.suite, Counter())[row.category] += 1
    return {suite: dict(sorted(found[suite].items())) for suite in sorted(found)}


def check(rows: Sequence[SuiteRow]) -> list[str]:
    """Whether these rows can say anything about both sides; returns notes on what they cannot say.

    Raises InputError where there are no rows, ids are repeated, or harmful or harmless prompts are absent:
    a rate of one side alone rewards refusing (or obeying) everything.
    """
    if not rows:
        raise InputError("the evaluation suite is empty; expected harmful and harmless prompts")
    identifier, times = Counter(row.id for row in rows).most_common(1)[0]
    if times > 1:
        raise InputError(f"evaluation row id {identifier!r} occurs {times} times; expected unique ids")
    count = Counter(row.category for row in rows)
    for category in ("harmful", "harmless"):
        if not count[category]:
            raise InputError(
                f"the evaluation suite has no {category} prompt (of {len(rows)} rows); "
                f"expected at least one harmful and one harmless"
            )
    return [] if count["ambiguous"] else ["no ambiguous prompts in the suite: their metrics are left out"]


def content_hash(row: SuiteRow) -> str:
    """Hex SHA-256 of what the row asks: it decides which rows a limit keeps, whatever their order or ids."""
    text = f"{row.category}\0{row.prompt}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def limit_per_category(rows: Sequence[SuiteRow], limit: int | None) -> list[SuiteRow]:
    """At most `limit` rows of each category, those of the least content hash, in their former order."""
    if limit is None:
        return list(rows)
    kept: set[str] = set()
    for category in CATEGORIES:
        of_category = sorted((content_hash(row), row.id) for row in rows if row.category == category)
        kept.update(identifier for _, identifier in of_category[:limit])
    return [row for row in rows if row.id in kept]
