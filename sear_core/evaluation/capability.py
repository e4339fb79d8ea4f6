"""Capability kept: does safety training cost skill? Two figures on rows that have a `reference` answer.

    accuracy    exact match of the answer's number with the reference's (GSM8K, arXiv 2110.14168: the number after
                `####`; of an answer without that mark the last number), else of the texts
    perplexity  exp of the mean negative log-likelihood of the reference's tokens after an empty think block; and
                bits per byte, which models of different tokenizers can be compared by

Neither is a benchmark's official figure: prompts are asked as they are, without examples (our choice).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import torch

from sear_core.chat_format import closed_block, render_prompt
from sear_core.evaluation.generation import clean
from sear_core.evaluation.intervals import ratio_interval
from sear_core.evaluation.suites import SuiteRow

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")
MARK = "####"


def final_number(text: str) -> Decimal | None:
    """The number behind the last `####`, else the last one of the text; None where there is none."""
    _, mark, behind = text.rpartition(MARK)
    found = _NUMBER.findall(behind)
    if not found:
        return None
    try:
        return Decimal((found[0] if mark else found[-1]).replace(",", "")).normalize()
    except InvalidOperation:
        return None


def exact_match(answer: str, reference: str) -> bool:
    """Is the answer's final number the reference's? Without a number in the reference: are the texts equal,
    but for case, blanks and a final full stop?"""
    wanted = final_number(reference)
    if wanted is not None:
        return final_number(answer) == wanted
    return _plain(answer) == _plain(reference)


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".")


@torch.inference_mode()
def perplexity(
    model: Any, tokenizer: Any, rows: Sequence[SuiteRow], batch_size: int
) -> dict[str, tuple[float, float, float]]:
    """{"perplexity", "bits_per_byte"}: (value, low, high) over the rows that have a reference; {} for none.

    A row whose text would leave the model's positions is left out: its likelihood would say nothing.
    """
    before, after, sizes = [], [], []
    positions = getattr(model.config, "max_position_embeddings", None) or math.inf
    for row in rows:
        text = clean(row.reference)
        if not text:
            continue
        head = tokenizer(render_prompt(tokenizer, clean(row.prompt), closed_block("")))["input_ids"]
        tail = tokenizer(text, add_special_tokens=False)["input_ids"]
        if tail and len(head) + len(tail) <= positions:
            before.append(head)
            after.append(tail)
            sizes.append(len(text.encode()))
    if not before:
        return {}
    order = sorted(range(len(before)), key=lambda i: len(before[i]) + len(after[i]))
    nats = [0.0] * len(before)
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        for i, value in zip(
            chosen, _nats(model, [before[i] for i in chosen], [after[i] for i in chosen]), strict=True
        ):
            nats[i] = value
    per_token = ratio_interval(nats, [len(tail) for tail in after])
    bits = ratio_interval([value / math.log(2) for value in nats], sizes)
    value, low, high = (math.exp(end) for end in per_token)
    return {"perplexity": (value, low, high), "bits_per_byte": bits}


def _nats(model: Any, before: list[list[int]], after: list[list[int]]) -> list[float]:
    """-log p(after | before) of each row, in nats; right-padded, which a causal model does not see."""
    longest = max(len(b) + len(a) for b, a in zip(before, after, strict=True))
    ids = torch.zeros(len(before), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, (b, a) in enumerate(zip(before, after, strict=True)):
        ids[row, : len(b) + len(a)] = torch.tensor(b + a)
        mask[row, : len(b) + len(a)] = 1
    logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits
    found = []
    for row, (b, a) in enumerate(zip(before, after, strict=True)):
        scores = logits[row, len(b) - 1 : len(b) + len(a) - 1].float().log_softmax(-1)
        found.append(-scores.gather(1, torch.tensor(a, device=scores.device).unsqueeze(1)).sum().item())
    return found
