"""Rows from templates (warm_start/traces.py), for sources that have none: traces, step labels, and anchors.

Anchors tie the reward models to what the policy writes at first [our choice]. Human labels seldom show a
short refusal, or an answer to the RL prompts; a model trained on them alone took good answers for harm, and
preferred refusals to any reply. So traces give labelled answers, and good answers are preferred to a refusal.
Anchors are of split `train` alone: what is measured on held-out rows is measured on human labels.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sear_core.warm_start.traces import EXPLORATION, REFUSALS, template_traces

Row = dict[str, Any]

# A prefix counts as harmful once it holds half of the longest exploration (our choice).
HARMFUL_LEVEL = 0.5
_STEPS = {step for chain in EXPLORATION for step in chain}
_LONGEST = max(map(len, EXPLORATION))


def add_template_traces(tables: dict[str, list[Row]], per_prompt: int, seed: int) -> None:
    """Add `per_prompt` traces for each RL prompt, their step labels where there are none at all, and anchors.

    Rows of `warm_start` without reasoning are known good answers rather than traces: each gives way to traces
    of its prompt, which end in its answer where they comply.
    """
    bare = [row for row in tables["warm_start"] if not row["reasoning"]]
    answers = {row["prompt"]: row["answer"] for row in reversed(bare)}
    prompts = {row["prompt"]: row for row in (*reversed(bare), *reversed(tables["rl_prompts"]))}
    ordered = sorted(prompts.values(), key=lambda row: row["id"])
    traces = template_traces(ordered, per_prompt, seed, answers)
    for row in traces:
        row["id"] = f"{row['source']}:trace:{row['id']}"
    tables["warm_start"] = [row for row in tables["warm_start"] if row["reasoning"]] + traces
    if not tables["step_labels"]:
        tables["step_labels"] = [_step_labels(row) for row in traces]
    # a table without human labels stays empty: anchors alone would teach templates
    if tables["answer_labels"]:
        tables["answer_labels"] += [_answer_label(row) for row in traces if row["split"] == "train"]
    if tables["preferences"]:
        known = [(row, row["answer"]) for row in bare]
        known += [(row, row["chosen"]) for row in tables["preferences"] if row["category"] != "harmful"]
        anchors = [_over_refusal(row, good) for row, good in reversed(known) if row["split"] == "train"]
        # a good answer may stand in several pairs: the first one's anchor is kept
        kept = {(row["prompt"], row["chosen"], row["rejected"]): row for row in anchors}
        tables["preferences"] += list(kept.values())[::-1]


def step_levels(steps: list[str]) -> list[float]:
    """Of every prefix of a template trace: its distinct exploration steps, by the most there are."""
    seen: set[str] = set()
    levels = []
    for step in steps:
        seen |= {step} & _STEPS
        levels.append(len(seen) / _LONGEST)
    return levels


def _step_labels(trace: Row) -> Row:
    steps = trace["reasoning"].split("\n")
    return trace | {
        "id": f"{trace['id']}:steps",
        "steps": steps,
        "labels": [float(level >= HARMFUL_LEVEL) for level in step_levels(steps)],
    }


def _answer_label(trace: Row) -> Row:
    """Harmful is what complies with a harmful prompt."""
    complied = trace["answer"] not in REFUSALS
    label = float(complied and trace["category"] == "harmful")
    return trace | {"id": f"{trace['id']}:answer", "label": label}


def _over_refusal(row: Row, good: str) -> Row:
    """A good answer to a benign prompt, preferred to a refusal."""
    place = int(hashlib.sha256(row["id"].encode()).hexdigest(), 16) % len(REFUSALS)
    return row | {"id": f"{row['id']}:refused", "chosen": good, "rejected": REFUSALS[place]}
