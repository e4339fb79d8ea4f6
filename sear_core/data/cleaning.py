"""What leaves a table before it is used: unusable rows, duplicates, and contamination by evaluation prompts.

Every function returns the rows that stay and reports each one that goes as a `Removal`: ids, never texts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sear_core.data.dedup import canonical, near_duplicates
from sear_core.schema import CATEGORIES

Row = dict[str, Any]

# the texts beside the prompt that make a row what it is
CONTENT = {
    "rl_prompts": (),
    "evaluation": (),
    "warm_start": ("reasoning", "answer", "slice"),  # a repeat on purpose stands under a slice of its own
    "step_labels": ("steps",),
    "answer_labels": ("answer",),
    "preferences": ("chosen", "rejected"),
}
ANSWERS = ("answer", "chosen", "rejected")


@dataclass(frozen=True)
class Removal:
    """A row that was taken out, and why; `matched` is the id of the row that it equals."""

    id: str
    table: str
    source: str
    reason: str
    matched: str = ""

    def record(self) -> dict[str, str]:
        return asdict(self)


def drop_unusable(
    rows: list[Row], table: str, max_prompt_chars: int, max_answer_chars: int
) -> tuple[list[Row], list[Removal]]:
    """Take out rows with an empty or overlong text (in characters), and pairs of equal answers."""

    def reason(row: Row) -> str:
        answers = [row[name] for name in ANSWERS if name in row]
        if not row["prompt"] or not all(answers):
            return "empty_text"
        if len(row["prompt"]) > max_prompt_chars:
            return "prompt_too_long"
        if any(len(answer) > max_answer_chars for answer in answers):
            return "answer_too_long"
        if table == "preferences" and row["chosen"] == row["rejected"]:
            return "chosen_equals_rejected"
        if table == "step_labels" and not row["steps"]:
            return "empty_text"
        return ""

    return _partition(rows, table, [(reason(row), "") for row in rows])


def drop_duplicates(
    rows: list[Row], table: str, keys: tuple[str, ...] | None = None
) -> tuple[list[Row], list[Removal]]:
    """Keep one row of those that agree in `keys` (default: the prompt and the table's content), casefolded.

    Rows come sorted by id, and the first stays; where such rows contradict each other in category or answer
    label, none does ("conflicting"): which of them is right cannot be known.
    """
    keys = ("prompt", *CONTENT[table]) if keys is None else keys
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(_folded(row[name]) for name in keys), []).append(row)
    verdict: dict[int, tuple[str, str]] = {}
    for group in groups.values():
        first = group[0]
        contradictory = len({(row["category"], row.get("label")) for row in group}) > 1
        for row in group if contradictory else group[1:]:
            other = group[1] if row is first else first
            verdict[id(row)] = ("conflicting" if contradictory else "duplicate", other["id"])
    return _partition(rows, table, [verdict.get(id(row), ("", "")) for row in rows])


def drop_contaminated(tables: dict[str, list[Row]], near: bool) -> tuple[dict[str, list[Row]], list[Removal]]:
    """Take every training row out whose prompt is an evaluation prompt, canonically or (`near`) nearly.

    The evaluation rows stay as they are: it is training that has to give way.
    """
    evaluation = {canonical(row["prompt"]): row["id"] for row in reversed(tables["evaluation"])}
    references = sorted(evaluation)
    prompts = {
        canonical(row["prompt"]) for name, rows in tables.items() if name != "evaluation" for row in rows
    }
    alike = near_duplicates(sorted(prompts - evaluation.keys()), references) if near and references else {}
    clean, removals = {"evaluation": tables["evaluation"]}, []
    for name, rows in tables.items():
        if name == "evaluation":
            continue
        verdicts = []
        for row in rows:
            key = canonical(row["prompt"])
            if key in evaluation:
                verdicts.append(("in_evaluation", evaluation[key]))
            elif key in alike:
                verdicts.append(("near_evaluation", evaluation[references[alike[key]]]))
            else:
                verdicts.append(("", ""))
        clean[name], gone = _partition(rows, name, verdicts)
        removals += gone
    return clean, removals


def drop_split_leaks(tables: dict[str, list[Row]]) -> tuple[dict[str, list[Row]], list[Removal]]:
    """Take training rows out whose prompt or split group some source put into validation, in any table.

    Splits by hash cannot leak; sources with a split of their own can.
    """
    held: dict[str, str] = {}
    for rows in tables.values():
        for row in rows:
            if row["split"] == "validation":
                held.setdefault(canonical(row["prompt"]), row["id"])
    clean, removals = {}, []
    for name, rows in tables.items():
        verdicts = []
        for row in rows:
            matched = held.get(canonical(row["prompt"]), "") if row["split"] == "train" else ""
            verdicts.append(("in_validation" if matched else "", matched))
        clean[name], gone = _partition(rows, name, verdicts)
        removals += gone
    return clean, removals


def category_counts(rows: list[Row]) -> dict[str, int]:
    return {category: sum(row["category"] == category for row in rows) for category in CATEGORIES}


def _partition(
    rows: list[Row], table: str, verdicts: list[tuple[str, str]]
) -> tuple[list[Row], list[Removal]]:
    kept, removals = [], []
    for row, (reason, matched) in zip(rows, verdicts, strict=True):
        if reason:
            removals.append(Removal(row["id"], table, row["source"], reason, matched))
        else:
            kept.append(row)
    return kept, removals


def _folded(value: Any) -> str:
    return "\x1f".join(map(_folded, value)) if isinstance(value, list) else str(value).casefold()
