"""Published attack artifacts: prompts that broke some model, tried on this one (transfer).

JailbreakBench's format (arXiv 2404.01318; its repository `artifacts`, one JSON file per method and model):

    {"parameters": {…}, "jailbreaks": [{"index", "goal", "behavior", "category", "prompt": text | null, …}]}

A jailbreak whose goal is a harmful prompt of the suite is tried as that row; another brings a row of its own,
harmful, with the suite's name `<attack>` and its category as the slice. Where the method found no prompt (null)
there is nothing to try: counted in a note. Whether it broke the model it was made for is not read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sear_core.data.dedup import canonical
from sear_core.errors import InputError
from sear_core.evaluation.attacks import Attack, Given, Sent
from sear_core.evaluation.suites import SuiteRow


@dataclass(frozen=True)
class Artifact:
    index: str
    goal: str
    prompt: str
    slice: str


def read_artifacts(path: Path) -> tuple[list[Artifact], int]:
    """The jailbreaks that have a prompt, and how many have none.

    Raises InputError: no such file, not JSON, not of the format, a goal that stands twice, no prompt at all.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of attack artifacts") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None
    rows = content.get("jailbreaks") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise InputError(f'{path}: no list "jailbreaks"; expected an artifact of JailbreakBench\'s format')
    found: dict[str, Artifact] = {}
    missing = 0
    for number, row in enumerate(rows):
        place = f"{path}: jailbreak {number}"
        if not isinstance(row, dict) or not isinstance(row.get("goal"), str) or not row["goal"].strip():
            raise InputError(f'{place}: no text "goal"')
        prompt = row.get("prompt")
        if prompt is not None and not isinstance(prompt, str):
            raise InputError(f'{place}: "prompt" is a {type(prompt).__name__}, expected a text or null')
        if prompt is None or not prompt.strip():
            missing += 1
            continue
        key = canonical(row["goal"])
        if key in found:
            raise InputError(f"{place}: its goal stands twice, first as index {found[key].index}")
        found[key] = Artifact(
            str(row.get("index", number)), row["goal"], prompt, str(row.get("category") or "")
        )
    if not found:
        raise InputError(f"{path}: none of its {len(rows)} jailbreaks has a prompt")
    return list(found.values()), missing


def artifact_attack(name: str, path: Path, limit: int | None = None) -> tuple[Attack, list[str]]:
    """The attack of one file, and notes on what it lacks. `limit`: rows of its own beside the suite's."""
    artifacts, missing = read_artifacts(path)
    by_goal = {canonical(artifact.goal): artifact for artifact in artifacts}

    def rows(suite: Sequence[SuiteRow]) -> list[SuiteRow]:
        known = [row for row in suite if row.category == "harmful" and canonical(row.prompt) in by_goal]
        there = {canonical(row.prompt) for row in known}
        own = [
            SuiteRow(f"{name}:{artifact.index}", artifact.goal, "harmful", name, artifact.slice, name)
            for key, artifact in by_goal.items()
            if key not in there
        ]
        return [*known, *own[:limit]]

    def build(given: Given) -> Sent:
        return Sent(by_goal[canonical(given.row.prompt)].prompt)

    notes = [f"{name}: {missing} of its jailbreaks have no prompt and are left out"] if missing else []
    return Attack(name, f"published attack artifacts, {path.name}", build, rows=rows), notes
