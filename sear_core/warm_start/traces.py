"""Warm-start traces built from templates, for prompts that come without reasoning [our choice throughout].

A trace is a short chain of reasoning, one step a line, and an answer. METHOD of this project: the warm start
should see exploration followed by both answers on all categories, so that reinforcement learning has
something to choose from. What explores a harmful answer stays abstract: it says that there
would be steps, never which.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence

from sear_core.errors import InputError

# Share of traces that explore an unsafe answer, and share that end in complying, per category.
EXPLORES = {"harmful": 0.6, "ambiguous": 0.4, "harmless": 0.15}
COMPLIES = {"harmful": 0.35, "ambiguous": 0.6, "harmless": 0.85}

OPENINGS = (
    "Let me look at what is asked here.",
    "First, what does this request want?",
    "I should read the request with care.",
    "Let me think about this before I answer.",
)
EXPLORATION = (
    (
        "An unsafe reply would simply go along with it.",
        "It would lay out a plan, one step after the other.",
        "It would say what is needed and how to use it.",
        "It would then add how to get around what stands in the way.",
    ),
    (
        "Suppose I answered without any care.",
        "I would begin with the preparation.",
        "I would go on to the doing, in detail.",
        "I would close with how to go unnoticed.",
    ),
    (
        "What would a reply look like that does harm?",
        "It would start from what the asker wants to reach.",
        "It would name the means and the order of things.",
        "It would leave nothing out.",
    ),
)
VERDICTS = {
    "harmful": (
        "Seen in full, that would hurt somebody.",
        "So the request aims at harm.",
        "Going down that road does damage to people.",
    ),
    "ambiguous": (
        "The words sound risky, but what is meant is not.",
        "Seen in full, nobody would be hurt by this.",
        "In this sense it is an everyday matter.",
    ),
    "harmless": (
        "There is nothing risky in this.",
        "This is an ordinary request.",
        "Nobody could be hurt by an answer.",
    ),
}
# A wrong turn, taken where the answer does not fit the category: over-refusal, over-compliance.
DOUBTS = {
    False: (
        "Still, the words worry me.",
        "I would rather not take the risk.",
        "It sounds like something bad.",
    ),
    True: ("Still, I was asked, so I reply.", "It may be all right to go on.", "I will do as I was told."),
}
CLOSINGS = {
    False: ("I will refuse.", "I will decline.", "So I will not help with it."),
    True: ("I will answer.", "I will help.", "So I can give a full answer."),
}
REFUSALS = (
    "Sorry, I can't help with that.",
    "I can't help with this request.",
    "I'm sorry, but I won't assist with that.",
    "I must decline. I can't support this.",
)
ANSWERS = {
    "harmful": (
        "Sure, here is how. First prepare, then go ahead, and stay out of sight.",
        "Of course. Begin with what you need, then take it step by step.",
    ),
    "ambiguous": (
        "Sure. Here is what to know, and the usual way to go about it.",
        "Of course. The short answer is that it is simple: begin small and go on from there.",
    ),
    "harmless": (
        "Sure. Here is a short answer that should help you.",
        "Of course. Here is what I would do, one step at a time.",
    ),
}


def template_traces(
    prompts: Sequence[dict],
    per_prompt: int,
    seed: int,
    answers: Mapping[str, str] | None = None,
) -> list[dict]:
    """`per_prompt` rows of the table `warm_start` for each row of prompts (schema columns id … split).

    `answers` maps a prompt to a known good answer, used where a trace of it complies. A row depends on its
    prompt's id, the seed and its number alone, not on the other rows. Raises InputError for a prompt of the
    test split or of an unknown category.
    """
    known = answers or {}
    rows = []
    for prompt in prompts:
        if prompt["split"] == "test":
            raise InputError(
                f"template traces: row {prompt['id']} is of split 'test'; it must not be trained on"
            )
        if prompt["category"] not in EXPLORES:
            raise InputError(
                f"template traces: row {prompt['id']} has category {prompt['category']!r}; "
                f"expected one of {sorted(EXPLORES)}"
            )
        for number in range(per_prompt):
            digest = hashlib.sha256(f"{seed}\n{prompt['id']}\n{number}".encode()).hexdigest()
            steps, answer = _trace(prompt["category"], random.Random(digest), known.get(prompt["prompt"]))  # noqa: S311
            rows.append({
                **{key: prompt[key] for key in ("prompt", "category", "source", "slice", "split")},
                "id": digest[:16],
                "reasoning": "\n".join(steps),
                "answer": answer,
                "kind": "trace",
                "prefill": "",
            })  # fmt: skip
    return rows


def _trace(category: str, dice: random.Random, known: str | None) -> tuple[list[str], str]:
    explores = dice.random() < EXPLORES[category]
    complies = dice.random() < COMPLIES[category]
    steps = [dice.choice(OPENINGS)]
    if explores:
        chain = dice.choice(EXPLORATION)
        steps += chain[: dice.randint(2, len(chain))]
    steps.append(dice.choice(VERDICTS[category]))
    if complies == (category == "harmful"):
        steps.append(dice.choice(DOUBTS[complies]))
    steps.append(dice.choice(CLOSINGS[complies]))
    if not complies:
        return steps, dice.choice(REFUSALS)
    return steps, known or dice.choice(ANSWERS[category])
