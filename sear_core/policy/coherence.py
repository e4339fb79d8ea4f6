"""Is a completion coherent: would the frozen warm start write each of its tokens where it stands?

METHOD's format f asks for a coherent answer, and learnt rewards do not see every incoherence: a policy finds
answers about another request, or half a refusal before half a compliance, that they pay for. The warm start's
own likelihood sees them: a coherent completion has no token that is next to impossible in its place. Our
choice; off by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence


class CompletionLikelihood:
    """The lowest token log-probability of a completion, in nats, under a frozen causal model."""

    def __init__(self, model: Any, tokenizer: Any, batch_size: int = 64) -> None:
        self.model, self.tokenizer, self.batch_size = (
            model.eval().requires_grad_(False),
            tokenizer,
            batch_size,
        )

    def lowest(self, prompts: Sequence[str], completions: Sequence[list[int]]) -> list[float]:
        """min over a completion's tokens of log p(token | prompt, before).

        prompts: rendered text, with forced prefix and prefill; completions: sampled ids, none of them empty.
        """
        if not prompts:
            return []
        before = [list(ids) for ids in self.tokenizer(list(prompts))["input_ids"]]
        found = [0.0] * len(before)
        order = sorted(range(len(before)), key=lambda i: len(before[i]) + len(completions[i]))
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            scores = self._batch([before[i] for i in chosen], [completions[i] for i in chosen])
            for i, score in zip(chosen, scores, strict=True):
                found[i] = score
        return found

    @torch.inference_mode()
    def _batch(self, before: list[list[int]], after: list[list[int]]) -> list[float]:
        device = self.model.device
        rows = [torch.tensor(b + a) for b, a in zip(before, after, strict=True)]
        ids = pad_sequence(rows, batch_first=True, padding_value=self.tokenizer.pad_token_id or 0).to(device)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True).to(device)
        logits = self.model(input_ids=ids, attention_mask=mask).logits.float()
        lowest = []
        for row, (b, a) in enumerate(zip(before, after, strict=True)):
            scores = logits[row, len(b) - 1 : len(b) + len(a) - 1].log_softmax(-1)
            lowest.append(scores.gather(1, torch.tensor(a, device=device).unsqueeze(1)).min().item())
        return lowest
