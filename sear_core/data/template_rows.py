"""Warm-start traces and step labels from templates (warm_start/traces.py), for sources that have none."""

from __future__ import annotations

from typing import Any

from sear_core.warm_start.traces import EXPLORATION, template_traces

Row = dict[str, Any]

# A prefix counts as harmful once it holds half of the longest exploration (our choice).
HARMFUL_LEVEL = 0.5
_STEPS = {step for chain in EXPLORATION for step in chain}
_LONGEST = max(map(len, EXPLORATION))


def add_template_traces(tables: dict[str, list[Row]], per_prompt: int, seed: int) -> None:
    """Add `per_prompt` traces for each RL prompt, and their step labels where there are none at all.

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
