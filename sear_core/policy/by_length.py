"""Sequences of like length together: what a batch pads is not computed.

TRL pads every prompt of a batch to the longest prompt and every completion to the longest completion, so that a few
long prefills make all rows long: in the demo more than half of what is computed is padding. With `length_buckets = n`
generation and log-probabilities go through the model in n parts of like length, without that padding; gradients flow
as before. The numbers are TRL's up to rounding (another order of summation), so the default is 1: TRL's own path, to
the last bit. That holds for rotary positions alone, which do not see where in the batch a row begins: other models are
refused. Text only. A CPU's gain above all: on a GPU every part costs the decoding steps of a batch. Our choice.

Shapes: B rows, W = P + T columns (prompts padded on the left, completions on the right), T kept positions.
"""

# ruff: noqa: N803  (shape suffixes)
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from sear_core.errors import InputError


def right_aligned(ids_BW: Tensor, mask_BW: Tensor, width: int, padding: int) -> tuple[Tensor, Tensor]:
    """(B, width) ids and mask with every row's tokens, which lie side by side, moved to the right edge.

    width: at least the longest row; padding: the id that fills the left.
    """
    first = mask_BW.argmax(dim=1, keepdim=True)
    source = (
        first
        + mask_BW.sum(dim=1, keepdim=True)
        - width
        + torch.arange(width, device=ids_BW.device).unsqueeze(0)
    )
    there = source >= first
    ids = ids_BW.gather(1, source.clamp(min=0)).masked_fill(~there, padding)
    return ids, there.to(mask_BW.dtype)


def left_aligned(values_BK: Tensor, lengths_B: Tensor, width: int) -> Tensor:
    """(B, width): the last `lengths` of every row's K values moved to the left edge, 0 behind them."""
    kept = values_BK.size(1)
    column = torch.arange(width, device=values_BK.device).unsqueeze(0)
    lengths = lengths_B.unsqueeze(1)
    moved = values_BK.gather(1, (kept - lengths + column).clamp(0, kept - 1))
    return moved.masked_fill(column >= lengths, 0.0)


class ByLength(GRPOTrainer):
    """GRPOTrainer with `args.length_buckets`; the only change is what is padded with what.

    Raises InputError for more than one bucket with a model whose positions are not rotary.
    """

    def __init__(self, model: Any, args: Any, **options: Any) -> None:
        super().__init__(model=model, args=args, **options)
        config: Any = self.model.config  # type: ignore[union-attr]
        config = config.get_text_config()
        if args.length_buckets > 1 and getattr(config, "rope_parameters", None) is None:
            raise InputError(
                f"length_buckets = {args.length_buckets} moves rows within a batch, which a model of type "
                f"{config.model_type!r} without rotary positions would see; expected 1"
            )

    def _get_per_token_logps_and_entropies(  # type: ignore[no-untyped-def]
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, compute_entropy=False,
        compute_aux_loss=False, **images,
    ):  # fmt: skip
        parts: int = self.args.length_buckets  # type: ignore[attr-defined]
        call = super()._get_per_token_logps_and_entropies
        options: dict[str, Any] = {"compute_entropy": compute_entropy, "compute_aux_loss": compute_aux_loss}
        if parts == 1 or compute_aux_loss or any(value is not None for value in images.values()):
            return call(
                model, input_ids, attention_mask, logits_to_keep, batch_size=batch_size, **options, **images
            )
        completions = attention_mask[:, -logits_to_keep:].sum(dim=1)
        order = attention_mask.sum(dim=1).argsort(stable=True)
        logps, entropies = [], []
        for rows in order.tensor_split(min(parts, len(order))):
            width = int(attention_mask[rows].sum(dim=1).max())
            kept = max(1, int(completions[rows].max()))
            ids, mask = right_aligned(
                input_ids[rows], attention_mask[rows], width, self._tokenizer.pad_token_id
            )
            found, entropy, _ = call(model, ids, mask, kept, batch_size=batch_size, **options)
            logps.append(left_aligned(found, completions[rows], logits_to_keep))
            if entropy is not None:
                entropies.append(left_aligned(entropy, completions[rows], logits_to_keep))
        back = order.argsort()
        return torch.cat(logps)[back], torch.cat(entropies)[back] if entropies else None, None

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, *rest, **options):  # type: ignore[no-untyped-def]
        parts: int = self.args.length_buckets  # type: ignore[attr-defined]
        call = super()._generate_single_turn
        paged = self.use_vllm or self.use_transformers_continuous_batching  # they do not pad
        if parts == 1 or paged or images is not None or multimodal_fields:
            return call(prompt_ids, images, multimodal_fields, *rest, **options)
        order = torch.tensor([len(ids) for ids in prompt_ids]).argsort(stable=True)
        found: list[list[int]] = [[] for _ in prompt_ids]
        for rows in order.tensor_split(parts):
            # Weights may be sharded: a process without enough prompts generates too, for nothing.
            chosen = rows.tolist() or [0]
            ids, _ = call([prompt_ids[n] for n in chosen], images, multimodal_fields, *rest, **options)
            for n, row in zip(rows.tolist(), ids, strict=False):
                found[n] = row
        return found, None
