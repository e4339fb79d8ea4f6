"""Published layouts whose records are not the rows that are wanted: trees, dialogues, numbered answers.

Each takes numbered records and the file's name (for errors), and yields numbered records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from sear_core.data.readers import Numbered
from sear_core.errors import InputError

_TURN = re.compile(r"(?:\A|\n\n)(Human|Assistant):")


def oasst_trees(records: Iterator[Numbered], path: str) -> Iterator[Numbered]:
    """Preference pairs of an Open-Assistant message tree: every ranked pair of first replies.

    Yields id, prompt, chosen, rejected, lang. A lower rank is the better reply; unranked and deleted replies
    make no pair.
    """
    for number, tree in records:
        root = tree.get("prompt")
        if not isinstance(root, dict) or not isinstance(root.get("text"), str):
            raise InputError(f"{path}: row {number}: no prompt.text, expected an Open-Assistant message tree")
        ranked = [
            reply
            for reply in root.get("replies") or []
            if reply.get("rank") is not None and not reply.get("deleted") and reply.get("role") == "assistant"
        ]
        for better, worse in combinations(sorted(ranked, key=lambda reply: reply["rank"]), 2):
            yield (
                number,
                {
                    "id": f"{tree.get('message_tree_id', number)}:{better['rank']}-{worse['rank']}",
                    "prompt": root["text"],
                    "chosen": better["text"],
                    "rejected": worse["text"],
                    "lang": root.get("lang", ""),
                },
            )


def hh_dialogues(records: Iterator[Numbered], path: str) -> Iterator[Numbered]:
    """Preference pairs of HH-RLHF: two transcripts that part at an answer of the assistant.

    Yields prompt, chosen, rejected, turns. The prompt is the human's text where it is the first turn, else
    the shared transcript; chosen and rejected are the two answers at the parting. `turns` counts the human's
    turns up to there, so that `where = {turns = [1]}` keeps the pairs that need no context.
    """
    for number, record in records:
        sides = []
        for column in ("chosen", "rejected"):
            if not isinstance(record.get(column), str):
                raise InputError(f"{path}: row {number}: no text in column {column!r}, expected a dialogue")
            sides.append(_turns(record[column], path, number))
        chosen, rejected = sides
        at = next((i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), None)
        if at is None:  # the same, or one is the other's beginning: nothing to prefer; counted downstream
            shared = chosen[: len(rejected)]
            at = max((i for i, (role, _) in enumerate(shared) if role == "Assistant"), default=0)
        elif chosen[at][0] != "Assistant" or rejected[at][0] != "Assistant":
            at -= 1  # the human's words part first: the answer before is shared, and is counted downstream
        if at < 1 or at >= min(len(chosen), len(rejected)):
            raise InputError(f"{path}: row {number}: the two dialogues share no turn of the human")
        context = chosen[:at]
        single = at == 1
        transcript = "\n\n".join(f"{role}: {text}" for role, text in context)
        yield (
            number,
            {
                "prompt": context[0][1] if single else transcript,
                "chosen": chosen[at][1],
                "rejected": rejected[at][1],
                "turns": sum(role == "Human" for role, _ in context),
            },
        )


def numbered_answers(records: Iterator[Numbered], path: str) -> Iterator[Numbered]:
    """Preference pairs of PKU-SafeRLHF: `response_0`, `response_1`, and which of them is the safer one.

    Yields the record with chosen, rejected (by `safer_response_id`), chosen_is_safe and rejected_is_safe.
    """
    for number, record in records:
        safer: Any = record.get("safer_response_id")
        if str(safer) not in ("0", "1"):
            raise InputError(f"{path}: row {number}: safer_response_id {safer!r}, expected 0 or 1")
        better, worse = int(safer), 1 - int(safer)
        try:
            row = {
                "chosen": record[f"response_{better}"],
                "rejected": record[f"response_{worse}"],
                "chosen_is_safe": record[f"is_response_{better}_safe"],
                "rejected_is_safe": record[f"is_response_{worse}_safe"],
            }
        except KeyError as error:
            raise InputError(f"{path}: row {number}: no column {error}, expected PKU-SafeRLHF's") from None
        yield number, record | row


def attack_artifacts(records: Iterator[Numbered], path: str) -> Iterator[Numbered]:
    """The attacks of a JailbreakBench artifact file, one object with a list `jailbreaks`; those without a prompt
    (the attack found none) are left out.
    """
    for number, record in records:
        attacks = record.get("jailbreaks")
        if not isinstance(attacks, list):
            raise InputError(f"{path}: row {number}: no list `jailbreaks`, expected an attack artifact")
        for position, attack in enumerate(attacks, start=1):
            if not isinstance(attack, dict):
                raise InputError(f"{path}: jailbreaks: row {position}: not an object")
            if attack.get("prompt"):
                yield position, attack


def _turns(text: str, path: str, number: int) -> list[tuple[str, str]]:
    parts = _TURN.split(text)
    turns = [(role, body.strip()) for role, body in zip(parts[1::2], parts[2::2], strict=True)]
    if len(turns) < 2 or turns[0][0] != "Human":
        raise InputError(
            f"{path}: row {number}: not a dialogue; expected '\\n\\nHuman: …' and '\\n\\nAssistant: …'"
        )
    return turns
