"""Records: what was generated -> rows of `completions.parquet`, judged. Our choice.

A record holds all that a judge needs, so that a new judge can be applied without generating (`judge_records`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sear_core.chat_format import THINK_CLOSE, THINK_OPEN
from sear_core.evaluation import capability
from sear_core.evaluation.attacks import Sent
from sear_core.evaluation.conditions import Condition
from sear_core.evaluation.generation import Generated, clean
from sear_core.evaluation.judges import EXPLORED_FROM, Judge, explored
from sear_core.evaluation.metrics import Judged
from sear_core.evaluation.suites import SuiteRow
from sear_core.policy.segments import Completion, split_steps

# prompt: the request, which is judged; sent: what stood in the user's turn; forced: how much an attack forced, in
# its unit; n_tokens: written, with the end-of-sequence token; step_values: V_1 … V_K
COMPLETIONS = pa.schema(
    [("id", pa.string()), ("sample", pa.int32()), ("condition", pa.string()), ("category", pa.string()),
     ("source", pa.string()), ("suite", pa.string()), ("slice", pa.string()), ("prompt", pa.string()),
     ("sent", pa.string()), ("prefill", pa.string()), ("forced", pa.int32()), ("reasoning", pa.string()),
     ("answer", pa.string()), ("reference", pa.string()), ("verdict", pa.string()), ("refusal", pa.string()),
     ("harmful", pa.bool_()), ("p_harm", pa.float32()), ("explored", pa.bool_()), ("reasoning_harmful", pa.bool_()),
     ("exact", pa.bool_()), ("malformed", pa.bool_()), ("truncated", pa.bool_()), ("closed", pa.bool_()),
     ("beyond_context", pa.bool_()), ("n_tokens", pa.int32()), ("reasoning_tokens", pa.int32()),
     ("step_values", pa.list_(pa.float32()))]
)  # fmt: skip

# Marks of another turn: an answer that holds one has run on into a dialogue of its own. The tokenizer's own
# special tokens count too.
CHAT_MARKS = (
    "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|begin_of_text|>", "<|endoftext|>",
    "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<|user|>", "<|assistant|>", "<|system|>",
)  # fmt: skip


@dataclass(frozen=True)
class Answered:
    """A suite row and what the model made of it under one condition; parsed is prefill + written text."""

    row: SuiteRow
    sample: int
    condition: Condition
    sent: Sent
    generated: Generated
    parsed: Completion
    beyond_context: bool

    @property
    def answer(self) -> str:
        """What is judged: the text after `</think>`, the whole output where that tag is missing (TARS §4)."""
        if self.parsed.close is not None:
            return self.parsed.answer
        return (self.sent.prefill + self.generated.text).strip()


def record(answered: Sequence[Answered], tokenizer: Any) -> list[dict[str, Any]]:
    """A row of COMPLETIONS per completion, not yet judged.

    Malformed is what `parse_completion` calls so, and what holds a mark of another turn.
    """
    marks = {*CHAT_MARKS, *tokenizer.all_special_tokens} - {THINK_OPEN, THINK_CLOSE}
    tokens = tokenizer([item.parsed.reasoning for item in answered], add_special_tokens=False)["input_ids"]
    return [
        {
            "id": item.row.id, "sample": item.sample, "condition": item.condition.name,
            "category": item.row.category, "source": clean(item.row.source), "suite": clean(item.row.suite),
            "slice": clean(item.row.slice), "prompt": clean(item.row.prompt), "sent": item.sent.prompt,
            "prefill": item.sent.prefill, "forced": forced(item.condition, item.sent, tokenizer),
            "reasoning": item.parsed.reasoning.strip(), "answer": item.answer,
            "reference": clean(item.row.reference),
            "exact": capability.exact_match(item.answer, item.row.reference) if item.row.reference else None,
            "malformed": not item.parsed.well_formed or any(mark in item.generated.text for mark in marks),
            "truncated": not item.generated.ended, "closed": item.parsed.close is not None,
            "beyond_context": item.beyond_context, "n_tokens": item.generated.n_tokens,
            "reasoning_tokens": len(ids),
        }
        for item, ids in zip(answered, tokens, strict=True)
    ]  # fmt: skip


def forced(condition: Condition, sent: Sent, tokenizer: Any) -> int:
    """How much was forced, in the attack's unit: words of reasoning, tokens of the answer, or the strength."""
    reasoning, _, answer = sent.prefill.partition(THINK_CLOSE)
    if condition.attack.unit == "words":
        return len(reasoning.split())
    if condition.attack.unit == "tokens":
        return len(tokenizer(answer.strip(), add_special_tokens=False)["input_ids"])
    return condition.strength or condition.attack.default or 0


def judge_records(records: list[dict[str, Any]], judge: Judge, max_steps: int) -> list[dict[str, Any]]:
    """The same records with their verdicts and the reasoning's levels, anew.

    Reasoning is scored where the model wrote at least part of it.
    """
    prompts = [clean(row["prompt"]) for row in records]
    verdicts = judge.judge(
        prompts, [clean(row["answer"]) for row in records], [row["category"] for row in records]
    )
    open_block = [i for i, row in enumerate(records) if THINK_CLOSE not in row["prefill"]]
    steps = [[step.text for step in split_steps(records[i]["reasoning"], max_steps)] for i in open_block]
    scored = dict(zip(open_block, judge.levels([prompts[i] for i in open_block], steps), strict=True))
    return [
        {
            **row, "verdict": verdict.outcome, "refusal": verdict.refusal, "harmful": verdict.harmful,
            "p_harm": verdict.p_harm,
            "explored": explored(scored.get(i)), "reasoning_harmful": _some_harm(scored.get(i)),
            "step_values": scored.get(i),
        }
        for i, (row, verdict) in enumerate(zip(records, verdicts, strict=True))
    ]  # fmt: skip


def _some_harm(levels: Sequence[float] | None) -> bool | None:
    if levels is None or explored(levels) is None:
        return None
    return any(level >= EXPLORED_FROM for level in levels)


def judged(row: Mapping[str, Any]) -> Judged:
    names = [name for name in Judged.__dataclass_fields__ if name != "outcome"]
    return Judged(outcome=row["verdict"], **{name: row[name] for name in names})
