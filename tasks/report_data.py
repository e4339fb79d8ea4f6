"""The data card of a report: what preparation counted, as small tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sear_core.data.card import LEFT_OUT, REASONS
from sear_core.schema import CATEGORIES
from tasks.report_page import flat

SPLITS = ("train", "validation", "test")


class Table(NamedTuple):
    title: str
    header: list[str]
    rows: list[list[Any]]


class DataCard(NamedTuple):
    """tables: rows per table, sources, rows taken out, …; facts: all that preparation says besides."""

    tables: list[Table]
    facts: dict[str, Any]


def data_card(report: Mapping[str, Any]) -> DataCard:
    """The card of a preparation's report.json; parts that it lacks are left out, unknown ones kept as facts."""
    rest = dict(report)
    tables = []
    if isinstance(counts := rest.get("counts"), list) and counts:
        rest.pop("counts")
        rest.pop("rows", None)  # the sums of these
        tables.append(_counts(counts))
    if isinstance(sources := rest.get("sources"), list) and sources:
        rest.pop("sources")
        header = [key for key in sources[0] if key != "path"]
        tables.append(Table("Sources", header, [[source.get(key) for key in header] for source in sources]))
    for key, title, meaning in (
        ("reasons", "Rows taken out", REASONS),
        ("left_out", "Rows not chosen", LEFT_OUT),
    ):
        if isinstance(found := rest.get(key), Mapping):
            rest.pop(key)
            rows = [[meaning.get(reason, reason), count] for reason, count in found.items() if count]
            if rows:
                tables.append(Table(title, ["why", "rows"], rows))
    for key, value in list(rest.items()):
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            header = list(dict.fromkeys(name for row in value for name in row))
            tables.append(Table(key, header, [[row.get(name) for name in header] for row in rest.pop(key)]))
    return DataCard(tables, flat(rest))


def _counts(counts: list[dict[str, Any]]) -> Table:
    """Rows per table and split, a column per category."""
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for row in counts:
        of_split = sums.setdefault((str(row.get("table")), str(row.get("split"))), {})
        category = str(row.get("category"))
        of_split[category] = of_split.get(category, 0) + int(row.get("rows", 0))
    found = {category for row in sums.values() for category in row}
    categories = [*(c for c in CATEGORIES if c in found), *sorted(found - set(CATEGORIES))]
    order = sorted(sums, key=lambda key: (key[0], SPLITS.index(key[1]) if key[1] in SPLITS else len(SPLITS)))
    return Table(
        "Rows per table and split",
        ["table", "split", *categories, "all"],
        [
            [*key, *(sums[key].get(category, 0) for category in categories), sum(sums[key].values())]
            for key in order
        ],
    )
