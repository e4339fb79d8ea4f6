"""The data card: what a prepared folder holds, its sources and what was taken out. Counts only."""

from __future__ import annotations

from typing import Any

from sear_core.schema import CATEGORIES, TABLES

REASONS = {
    "empty_text": "the prompt or an answer is empty",
    "prompt_too_long": "the prompt is longer than `max_prompt_chars`",
    "answer_too_long": "an answer is longer than `max_answer_chars`",
    "chosen_equals_rejected": "a preference pair of equal answers",
    "duplicate": "equals another row of its table",
    "conflicting": "equals another row, but contradicts its category or label",
    "in_evaluation": "its prompt is an evaluation prompt",
    "near_evaluation": "its prompt is nearly an evaluation prompt",
    "in_validation": "its prompt is a validation prompt of some table",
}
LEFT_OUT = {
    "where": "not selected by a source's `where`",
    "limit": "beyond a source's `limit`",
    "mix": "not needed for the mix of RL prompts",
}


def render(report: dict[str, Any]) -> str:
    """Markdown of a preparation report (preparation.PreparationReport as a dict)."""
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
            "## Taken out",
            "Each row is listed by id in `removed.jsonl`.",
            _table(["reason", "rows"], [[REASONS.get(r, r), n] for r, n in report["reasons"].items()]),
            "## Not chosen",
            _table(["reason", "rows"], [[LEFT_OUT.get(r, r), n] for r, n in report["left_out"].items()]),
        ]
    ) + "\n"  # fmt: skip


def _source(source: dict[str, Any]) -> list[Any]:
    plain = [source[key] for key in ("role", "licence", "read", "kept")]
    return [source["name"], f"`{source['path']}`", *plain, f"`{source['sha256'][:16]}`"]


def _table(header: list[str], rows: list[list[Any]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])
