"""The data card: what a prepared folder holds, its sources, what was taken out, and where sources overlap.

Counts, hashes and ids only: a card never shows a text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sear_core.data.staging import Removal
from sear_core.schema import CATEGORIES, TABLES

EXAMPLES = 3  # ids of each kind
REASONS = {
    "empty_text": "the prompt or an answer is empty",
    "prompt_too_long": "the prompt is longer than `max_prompt_chars`",
    "answer_too_long": "an answer is longer than `max_answer_chars`",
    "chosen_equals_rejected": "a preference pair of equal answers",
    "duplicate": "equals another row of its table",
    "conflicting": "equals another row, but contradicts its category or label",
    "near_duplicate": "its prompt is nearly that of another row of its table, its other texts are the same",
    "in_evaluation": "its prompt is an evaluation prompt",
    "near_evaluation": "its prompt is nearly an evaluation prompt",
    "in_validation": "its prompt is a validation prompt of some table",
}
LEFT_OUT = {
    "where": "not selected by a source's `where`",
    "limit": "beyond a source's `limit`",
    "mix": "not needed for the mix of RL prompts",
}


def build(
    report: Mapping[str, Any], removals: Sequence[Removal], examples: Mapping[tuple[str, str], Sequence[str]]
) -> dict[str, Any]:
    """The card as data: a preparation report with examples and overlaps.

    `overlaps`: how many rows of one source were taken out for a row of another; `examples`: ids that are kept, by
    table and source; `removed_examples`: ids taken out, by reason.
    """
    names = sorted((source["name"] for source in report["sources"]), key=len, reverse=True)
    overlaps: Counter[tuple[str, str, str]] = Counter()
    removed: dict[str, list[str]] = {}
    for removal in removals:
        some = removed.setdefault(removal.reason, [])
        if len(some) < EXAMPLES:
            some.append(removal.id)
        other = next((name for name in names if removal.matched.startswith(f"{name}:")), "")
        if other and other != removal.source:
            overlaps[removal.source, other, removal.reason] += 1
    return dict(report) | {
        "overlaps": [
            {"source": source, "with": other, "reason": reason, "rows": rows}
            for (source, other, reason), rows in sorted(overlaps.items())
        ],
        "examples": [
            {"table": table, "source": source, "ids": list(ids)}
            for (table, source), ids in sorted(examples.items())
        ],
        "removed_examples": dict(sorted(removed.items())),
    }


def render(report: dict[str, Any]) -> str:
    """Markdown of a card, as `build` gives it."""
    cells = {(row["table"], row["split"], row["category"]): 0 for row in report["counts"]}
    for row in report["counts"]:
        cells[row["table"], row["split"], row["category"]] += row["rows"]
    splits = ("train", "validation", "test")
    groups = [
        (name, split) for name in TABLES for split in splits if any(key[:2] == (name, split) for key in cells)
    ]
    return "\n\n".join(
        [
            "# Data card",
            f"Hash of the tables (SHA-256): `{report['sha256']}`",
            "## Tables",
            _table(
                ["table", "split", *CATEGORIES, "rows"],
                [
                    [name, split, *(per := [cells.get((name, split, c), 0) for c in CATEGORIES]), sum(per)]
                    for name, split in groups
                ],
            ),
            "## Sources",
            _table(
                ["source", "file", "for", "licence", "rows read", "rows kept", "SHA-256"],
                [_source(source) for source in report["sources"]],
            ),
            "## Rows by source",
            _table(
                ["table", "source", "split", *CATEGORIES, "such as"],
                _by_source(report),
            ),
            "## Taken out",
            "Each row is listed by id in `removed.jsonl`.",
            _table(
                ["reason", "rows", "such as"],
                [
                    [REASONS.get(r, r), n, _ids(report["removed_examples"].get(r, []))]
                    for r, n in report["reasons"].items()
                ],
            ),
            "## Overlaps",
            "Rows of one source that were taken out for a row of another.",
            _table(
                ["source", "with", "reason", "rows"],
                [[o["source"], o["with"], REASONS.get(o["reason"], o["reason"]), o["rows"]]
                 for o in report["overlaps"]],
            ),
            "## Not chosen",
            _table(["reason", "rows"], [[LEFT_OUT.get(r, r), n] for r, n in report["left_out"].items()]),
        ]
    ) + "\n"  # fmt: skip


def _by_source(report: Mapping[str, Any]) -> list[list[Any]]:
    cells: dict[tuple[str, str, str], Counter[str]] = {}
    for row in report["counts"]:
        cells.setdefault((row["table"], row["source"], row["split"]), Counter())[row["category"]] += row[
            "rows"
        ]
    ids = {(item["table"], item["source"]): item["ids"] for item in report["examples"]}
    order = {name: number for number, name in enumerate(TABLES)}
    return [
        [*key, *(counts[category] for category in CATEGORIES), _ids(ids.get(key[:2], []))]
        for key, counts in sorted(cells.items(), key=lambda item: (order[item[0][0]], item[0]))
    ]


def _ids(ids: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in ids)


def _source(source: dict[str, Any]) -> list[Any]:
    plain = [source[key] for key in ("role", "licence", "read", "kept")]
    return [source["name"], f"`{source['path']}`", *plain, f"`{source['sha256'][:16]}`"]


def _table(header: list[str], rows: list[list[Any]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(map(_plain, row)) + " |" for row in rows)])


def _plain(value: Any) -> str:
    """A cell of a table, whatever a source's ids or names hold: one line, no markup of tables or HTML."""
    text = " ".join(str(value).split())
    return text.replace("|", "\\|").replace("<", "&lt;")[:120]
