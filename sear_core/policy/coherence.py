"""Is an answer coherent: would the frozen warm start write each of its tokens in reply to the prompt?

METHOD's format f asks for a coherent answer, and learnt rewards do not see every incoherence: a policy finds
answers about another request, or half a refusal before half a compliance, that they pay for. The warm start's
own likelihood sees them: a coherent answer has no token that is next to impossible in its place. The think block
is left empty, so that the prompt alone decides. Our choice; off by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from sear_core.chat_format import THINK_CLOSE, render_prompt


class AnswerLikelihood:
    """The lowest token log-probability of an answer, in nats, under a frozen causal model."""

    def __init__(self, model: Any, tokenizer: Any, batch_size: int = 64) -> None:
        self.model, self.tokenizer, self.batch_size = (
            model.eval().requires_grad_(False),
            tokenizer,
            batch_size,
        )

    def lowest(self, prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
        """min over the tokens of the answer and its end-of-sequence token of log p(token | prompt, before)."""
        if not prompts:
            return []
        rendered = [render_prompt(self.tokenizer, prompt, f"{THINK_CLOSE}\n") for prompt in prompts]
        before = self.tokenizer(rendered)["input_ids"]
        after = [
            [*ids, self.tokenizer.eos_token_id]
            for ids in self.tokenizer(list(answers), add_special_tokens=False)["input_ids"]
        ]
        found = [0.0] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda i: len(before[i]) + len(after[i]))
        for start in range(0, len(order), self.batch_size):
            self._batch(order[start : start + self.batch_size], before, after, found)
        return found

    @torch.inference_mode()
    def _batch(
        self, chosen: list[int], before: list[list[int]], after: list[list[int]], found: list[float]
    ) -> None:
        rows = [torch.tensor(before[i] + after[i]) for i in chosen]
        ids = torch.nn.utils.rnn.pad_sequence(
            rows, batch_first=True, padding_value=self.tokenizer.pad_token_id or 0
        )
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        device = self.model.device
        logits = self.model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits.float()
        for row, i in enumerate(chosen):
            begin, end = len(before[i]), len(before[i]) + len(after[i])
            scores = logits[row, begin - 1 : end - 1].log_softmax(-1)
            taken = scores.gather(1, torch.tensor(after[i], device=device).unsqueeze(1))
            found[i] = taken.min().item()
