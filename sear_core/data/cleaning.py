"""What leaves a table before it is used: unusable rows, duplicates, contamination by evaluation prompts, leaks.

Every function marks rows of staged tables as gone and reports each as a `Removal`: ids, never texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np

from sear_core.data.likeness import near_duplicate
from sear_core.data.near import ReferenceIndex, TableIndex
from sear_core.data.staging import SPLITS, Removal, Row, Staged
from sear_core.data.tokens import estimated_tokens
from sear_core.data.wording import Words, words

ANSWERS = ("answer", "chosen", "rejected")
TRAIN, VALIDATION = SPLITS.index("train"), SPLITS.index("validation")
MAX_WORDS = 1_000_000  # different words counted; beyond it those seen once are forgotten


class Limits:
    """How long texts may be: in characters and, where given, in tokens as `count_tokens` counts them."""

    def __init__(
        self,
        prompt_chars: int,
        answer_chars: int,
        prompt_tokens: int | None = None,
        answer_tokens: int | None = None,
        count_tokens: Callable[[str], int] | None = None,
    ) -> None:
        self._prompt = (prompt_chars, prompt_tokens)
        self._answer = (answer_chars, answer_tokens)
        self._count = count_tokens or estimated_tokens

    def prompt_too_long(self, text: str) -> bool:
        return self._too_long(text, *self._prompt)

    def answer_too_long(self, text: str) -> bool:
        return self._too_long(text, *self._answer)

    def _too_long(self, text: str, chars: int, tokens: int | None) -> bool:
        return len(text) > chars or (tokens is not None and self._count(text) > tokens)


def unusable(row: Row, table: str, limits: Limits) -> str:
    """Why a row cannot be used, or an empty string: an empty or overlong text, a pair of equal answers."""
    answers = [row[name] for name in ANSWERS if name in row]
    if not row["prompt"] or not all(answers):
        return "empty_text"
    if limits.prompt_too_long(row["prompt"]):
        return "prompt_too_long"
    if any(limits.answer_too_long(answer) for answer in answers):
        return "answer_too_long"
    if table == "preferences" and row["chosen"] == row["rejected"]:
        return "chosen_equals_rejected"
    if table == "step_labels" and not row["steps"]:
        return "empty_text"
    return ""


def drop_duplicates(table: Staged, key: str = "key", only: np.ndarray | None = None) -> list[Removal]:
    """Keep one row of those that agree in the hash `key`: the prompt and the table's content, casefolded.

    The first by id stays; where such rows contradict each other in category or answer label, none does
    ("conflicting"): which of them is right cannot be known. `only`: positions that are looked at.
    """
    positions = np.flatnonzero(table.kept) if only is None else only[table.kept[only]]
    keys, verdicts = table.index[key][positions], table.index["verdict"][positions]
    order = np.lexsort((positions, keys))
    starts = np.flatnonzero(np.r_[True, np.diff(keys[order]) != 0]) if len(order) else np.zeros(0, int)
    ends = np.r_[starts[1:], len(order)]
    removals = []
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        group = [int(positions[i]) for i in order[start:end]]
        contradictory = len(set(verdicts[order[start:end]].tolist())) > 1
        reason = "conflicting" if contradictory else "duplicate"
        for position in group if contradictory else group[1:]:
            other = group[1] if position == group[0] else group[0]
            removals.append(table.remove(position, reason, table.ids[other]))
    return removals


def count_words(counts: Counter[str], prompt: str) -> None:
    """In how many prompts a word occurs; words with digits in them are not counted."""
    counts.update(word for word in set(words(prompt).tokens) if word.isalpha())
    if len(counts) > MAX_WORDS:
        for word in [word for word, count in counts.items() if count == 1]:
            del counts[word]


def drop_contaminated(tables: Mapping[str, Staged], prompts: Mapping[str, int]) -> list[Removal]:
    """Take every training row out whose prompt is an evaluation prompt, canonically or nearly.

    The evaluation rows stay as they are: it is training that has to give way. Rows are read one at a time;
    evaluation prompts are held.
    """
    evaluation = tables["evaluation"]
    held = np.flatnonzero(evaluation.kept)
    equal: dict[int, str] = {}
    for position in held:
        equal.setdefault(int(evaluation.index["prompt"][position]), evaluation.ids[position])
    index = ReferenceIndex([evaluation.row(int(i))["prompt"] for i in held], prompts)

    @lru_cache(maxsize=1 << 12)
    def nearest(prompt: str) -> int | None:
        return index.match(words(prompt))

    removals = []
    for name, table in tables.items():
        if name == "evaluation" or not equal:
            continue
        for position in np.flatnonzero(table.kept):
            known = equal.get(int(table.index["prompt"][position]))
            if known is not None:
                removals.append(table.remove(position, "in_evaluation", known))
            elif (match := nearest(table.row(position)["prompt"])) is not None:
                removals.append(table.remove(position, "near_evaluation", evaluation.ids[held[match]]))
    return removals


def drop_near_duplicates(table: Staged, prompts: Mapping[str, int]) -> list[Removal]:
    """Keep one row, the first by id, of those whose prompts are near-duplicates and whose other texts agree, also
    where they are so by way of a third one.

    Rows of different categories are no near-duplicates: a contrast of a word or two is what they may be.
    """
    positions = np.flatnonzero(table.kept)
    index = TableIndex()
    for position in positions:
        index.add(words(table.row(position)["prompt"]), int(table.index["rest"][position]))

    @lru_cache(maxsize=1 << 10)
    def parsed(number: int) -> Words:
        return words(table.row(positions[number])["prompt"])

    alike: dict[int, int] = {}  # a row -> the first that it is nearly
    for first, second in sorted(set(index.pairs())):
        if second not in alike and near_duplicate(parsed(first), parsed(second), prompts):
            alike[second] = alike.get(first, first)
    return [
        table.remove(positions[second], "near_duplicate", table.ids[positions[first]])
        for second, first in sorted(alike.items())
    ]


def drop_split_leaks(tables: Mapping[str, Staged]) -> list[Removal]:
    """Take training rows out whose prompt some source put into validation, in any table.

    Splits by hash cannot leak; sources with a split of their own can.
    """
    held: dict[int, str] = {}
    for table in tables.values():
        for position in np.flatnonzero(table.kept & (table.index["split"] == VALIDATION)):
            held.setdefault(int(table.index["prompt"][position]), table.ids[position])
    keys = np.array(sorted(held), dtype=np.uint64)
    removals = []
    for table in tables.values():
        leaking = table.kept & (table.index["split"] == TRAIN) & np.isin(table.index["prompt"], keys)
        for position in np.flatnonzero(leaking):
            matched = held[int(table.index["prompt"][position])]
            removals.append(table.remove(position, "in_validation", matched))
    return removals
