"""A frozen model that goes on from every prefix z_1 … z_k of a reasoning, the prefixes' key-value cache computed once.

    <chat prompt><think>\\n | z_1\\n | … | z_K\\n        one forward pass per reasoning fills the cache
    | </think>\\n | continuation                        K + 1 of them at once, each masked beyond the end of its z_k

Every piece is tokenised by itself, so that a prefix's ids are a prefix of the whole's ids. Positions go on from the
end of z_k, whatever lies in the masked part of the cache, so the result is that of a pass over the prefix alone.
For models with full attention; a sliding window counts cache entries, the masked ones too.

Shapes: N reasonings, S = sum over them of (K + 1) · m sequences, L cached tokens, T new ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from sear_core.chat_format import FORCED_PREFIX, THINK_CLOSE
from sear_core.errors import InputError
from sear_core.reward_model.encoding import clean, encode_prompts, encode_steps, length_batches, pad_right


@dataclass(frozen=True)
class _Reasoning:
    """Ids of prompt and steps, and where the prefixes end: ends[k] tokens make z_1 … z_k."""

    ids: list[int]
    ends: list[int]


class Prover:
    """Continuations of reasoning prefixes by a causal model; the model is frozen here.

    `cached` False computes every prefix by itself: for tests and benchmarks. batch_tokens: cached tokens of the S
    sequences in one batch. Raises InputError for a model with sliding-window attention.
    """

    def __init__(self, model: Any, tokenizer: Any, *, batch_tokens: int = 65536, cached: bool = True) -> None:
        if "sliding_attention" in (getattr(model.config, "layer_types", None) or ()):
            raise InputError(
                "prover: a model with sliding-window attention; expected full attention in every layer"
            )
        self.model = model.eval().requires_grad_(False)
        self.tokenizer, self.batch_tokens, self.cached = tokenizer, batch_tokens, cached
        self.close: list[int] = tokenizer(f"{THINK_CLOSE}\n", add_special_tokens=False)["input_ids"]
        ends = model.generation_config.eos_token_id
        self.eos = sorted({tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None})
        self.limit = getattr(model.config, "max_position_embeddings", None) or 1 << 30

    @torch.inference_mode()
    def answers(
        self, prompts: Sequence[str], steps: Sequence[Sequence[str]], *, samples: int, max_new_tokens: int,
        temperature: float,
    ) -> list[list[list[str]] | None]:  # fmt: skip
        """[row][k][m]: m answers after `</think>` behind z_1 … z_k, k = 0 … K; sampled from torch's global generator,
        greedy where temperature is 0. None for a row that does not fit into the model's positions."""
        found: list[list[list[str]] | None] = [None] * len(prompts)
        room = len(self.close) + max_new_tokens
        for rows, reasonings in self._batches(prompts, steps, samples, room):
            ids = self._generate(reasonings, samples, max_new_tokens, temperature)
            texts = iter(self.tokenizer.batch_decode(ids, skip_special_tokens=True))
            for row, reasoning in zip(rows, reasonings, strict=True):
                found[row] = (found[row] or []) + [
                    [next(texts).strip() for _ in range(samples)] for _ in reasoning.ends
                ]
        return found

    @torch.inference_mode()
    def log_probabilities(
        self, prompts: Sequence[str], steps: Sequence[Sequence[str]], targets: Sequence[str]
    ) -> list[list[float] | None]:
        """[row][k]: mean log-probability per token, in nats, of the row's target after `</think>` behind z_1 … z_k.
        None for a row that does not fit."""
        coded = [self.tokenizer(clean(t), add_special_tokens=False)["input_ids"] for t in targets]
        found: list[list[float] | None] = [None] * len(prompts)
        longest = max((len(ids) for ids in coded), default=0)
        for rows, reasonings in self._batches(prompts, steps, 1, len(self.close) + longest):
            owners = [row for row, r in zip(rows, reasonings, strict=True) for _ in r.ends]
            values = iter(self._score(reasonings, [coded[row] for row in owners]))
            for row, reasoning in zip(rows, reasonings, strict=True):
                found[row] = (found[row] or []) + [next(values) for _ in reasoning.ends]
        return found

    def _batches(
        self, prompts: Sequence[str], steps: Sequence[Sequence[str]], samples: int, room: int
    ) -> Iterator[tuple[list[int], list[_Reasoning]]]:
        """(rows, their reasonings), of like length; rows longer than the model's positions are left out."""
        heads = encode_prompts(self.tokenizer, prompts, FORCED_PREFIX, self.limit)
        pieces = iter(encode_steps(self.tokenizer, [step for row in steps for step in row]))
        jobs: list[tuple[int, _Reasoning]] = []
        for row, head in enumerate(heads):
            ids, ends = list(head), [len(head)]
            for _ in steps[row]:
                ids += next(pieces)
                ends.append(len(ids))
            if len(ids) + room > self.limit:
                continue
            whole = _Reasoning(ids, ends)
            jobs += [(row, whole)] if self.cached else [(row, _Reasoning(ids[:end], [end])) for end in ends]
        sizes = [len(job.ids) * len(job.ends) * samples for _, job in jobs]
        for batch in length_batches(sizes, self.batch_tokens):
            chosen = sorted(batch)  # a row's prefixes stay in their order
            yield [jobs[i][0] for i in chosen], [jobs[i][1] for i in chosen]

    def _prefill(self, reasonings: Sequence[_Reasoning], samples: int) -> tuple[DynamicCache, Tensor, Tensor]:
        """(cache of S sequences, mask (S, L) of what each may read, ends (S,))."""
        device = self.model.device
        ids = torch.tensor(pad_right([r.ids for r in reasonings], self.tokenizer.pad_token_id), device=device)
        cache = DynamicCache()
        places = torch.arange(ids.size(1), device=device)
        lengths = torch.tensor([len(r.ids) for r in reasonings], device=device)
        mask = (places < lengths.unsqueeze(1)).long()
        self.model(
            input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        owner = [n for n, r in enumerate(reasonings) for _ in r.ends for _ in range(samples)]
        if owner != list(range(len(reasonings))):
            cache.batch_select_indices(torch.tensor(owner, device=device))
        ends = torch.tensor(
            [end for r in reasonings for end in r.ends for _ in range(samples)], device=device
        )
        return cache, (places < ends.unsqueeze(1)).long(), ends

    def _forward(
        self, ids: Tensor, cache: DynamicCache, mask: Tensor, ends: Tensor, done: int, keep: int
    ) -> Tensor:
        """(S, keep, vocabulary) logits of the last `keep` of the new tokens; `done` new ones came before."""
        positions = ends.unsqueeze(1) + done + torch.arange(ids.size(1), device=ids.device)
        grown = torch.cat([mask, mask.new_ones(len(mask), done + ids.size(1))], dim=1)
        return self.model(
            input_ids=ids, attention_mask=grown, position_ids=positions, past_key_values=cache, use_cache=True,
            logits_to_keep=keep,
        ).logits.float()  # fmt: skip

    def _generate(
        self, reasonings: Sequence[_Reasoning], samples: int, max_new_tokens: int, temperature: float
    ) -> list[list[int]]:
        cache, mask, ends = self._prefill(reasonings, samples)
        new = torch.tensor([self.close], device=mask.device).expand(len(mask), -1)
        eos = torch.tensor(self.eos, device=mask.device)
        over = torch.zeros(len(mask), dtype=torch.bool, device=mask.device)
        done, written = 0, []
        for _ in range(max_new_tokens):
            logits = self._forward(new, cache, mask, ends, done, 1)[:, -1]
            done += new.size(1)
            if temperature:
                new = torch.multinomial((logits / temperature).softmax(-1), 1)
            else:
                new = logits.argmax(-1, keepdim=True)
            new = new.masked_fill(over.unsqueeze(1), self.tokenizer.pad_token_id)
            over = over | torch.isin(new[:, 0], eos)
            written.append(new)
            if over.all():
                break
        rows = torch.cat(written, dim=1).tolist()
        return [_until(row, self.eos) for row in rows]

    def _score(self, reasonings: Sequence[_Reasoning], targets: Sequence[list[int]]) -> list[float]:
        cache, mask, ends = self._prefill(reasonings, 1)
        ids = torch.tensor(
            pad_right([self.close + t for t in targets], self.tokenizer.pad_token_id), device=mask.device
        )
        width = ids.size(1) - len(self.close)
        logits = self._forward(ids, cache, mask, ends, 0, width + 1)[:, :-1]
        scores = logits.log_softmax(-1).gather(2, ids[:, len(self.close) :].unsqueeze(2)).squeeze(2)
        lengths = torch.tensor([len(t) for t in targets], device=mask.device)
        kept = torch.arange(width, device=mask.device) < lengths.unsqueeze(1)
        return ((scores * kept).sum(1) / lengths).tolist()  # an empty target: 0 / 0, NaN, unscorable


def _until(ids: list[int], eos: Sequence[int]) -> list[int]:
    return next((ids[:n] for n, token in enumerate(ids) if token in eos), ids)
