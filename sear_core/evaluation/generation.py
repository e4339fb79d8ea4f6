"""Generation: texts to be continued -> completions; batched, deterministic, resumable. Our choice throughout.

Batches are sorted by length, left-padded, and run through transformers' `generate` with the key-value cache.
Whenever a quarter of a batch has ended, it stops and goes on with the others alone, so that one completion
which never ends does not keep a whole batch at work. (With a half, a quarter of the rows' work went to rows that had
ended; a tenth gained nothing more: benchmarks/generation.py.)

Sampling is by the Gumbel trick: argmax of logits / temperature + noise is a draw from their softmax. Each row
has a noise generator of its own, so that what a prompt is answered does not hang on which batch it was in.
(Left padding still changes the last bits of float32 logits; only near-ties could notice.)
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria

logger = logging.getLogger(__name__)

_SCHEMA = pa.schema(
    [("id", pa.string()), ("text", pa.string()), ("ended", pa.bool_()), ("n_tokens", pa.int32())]
)


@dataclass(frozen=True)
class Request:
    """A text to be continued (chat_format.render_prompt), and the seed of its noise where it is sampled."""

    id: str
    text: str
    seed: int = 0


@dataclass(frozen=True)
class Generated:
    """What the model wrote, without the end-of-sequence token; that `ended` tells of, and n_tokens counts."""

    id: str
    text: str
    ended: bool
    n_tokens: int


def clean(text: str) -> str:
    """The text as it can be tokenised and stored: lone surrogates and NULs become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def row_seed(seed: int, identifier: str, sample: int) -> int:
    """The seed of one completion's noise: of run seed, row and sample, whatever the condition."""
    digest = hashlib.sha256(f"{seed}\0{sample}\0{identifier}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class _GumbelNoise(LogitsProcessor):
    """logits / temperature + Gumbel noise from each row's own generator; the argmax is then a sample."""

    def __init__(self, generators: list[torch.Generator], temperature: float) -> None:
        self.generators, self.temperature = generators, temperature

    def __call__(self, input_ids: torch.Tensor, scores_BV: torch.Tensor) -> torch.Tensor:  # noqa: N803
        noise = torch.empty(scores_BV.shape, dtype=torch.float32)
        for row, generator in zip(noise, self.generators, strict=True):
            row.exponential_(generator=generator)
        # -log of an exponential variate is a Gumbel variate
        return scores_BV.float() / self.temperature - noise.log().to(scores_BV.device)


class _QuarterEnded(StoppingCriteria):
    """Stops the whole batch when no more than three quarters of its rows are still being written."""

    def __init__(self, ends: torch.Tensor, written_from: int, rows: int) -> None:
        self.ends, self.written_from, self.rows = ends, written_from, rows

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        alive = ~torch.isin(input_ids[:, self.written_from :], self.ends).any(dim=1)
        return torch.full_like(alive, bool(4 * alive.sum() <= 3 * self.rows))


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """The ids that end a completion: the tokenizer's, and those of the model's own generation config."""
    own = getattr(model.generation_config, "eos_token_id", None)
    own = own if isinstance(own, list) else [own]
    ids = {tokenizer.eos_token_id, *own} - {None}
    # A generation config of other special tokens than the vocabulary has is not this tokenizer's.
    return sorted(identifier for identifier in ids if 0 <= identifier < len(tokenizer))


@contextmanager
def _plain_generation(model: Any) -> Iterator[None]:
    """Without the model's own defaults (repetition penalty, top-p …), which `generate` fills in."""
    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


def generate_batch(
    model: Any, tokenizer: Any, batch: Sequence[Request], *, max_new_tokens: int, temperature: float
) -> list[Generated]:
    """Continue the texts of one batch, greedily (temperature 0) or sampled; results in the batch's order.

    ids and mask are (B, T); B shrinks as rows end, T grows.
    """
    ends = torch.tensor(end_tokens(model, tokenizer), device=model.device)
    encoded = tokenizer(
        [clean(request.text) for request in batch], return_tensors="pt", padding=True, padding_side="left"
    )
    ids, mask = encoded["input_ids"].to(model.device), encoded["attention_mask"].to(model.device)
    start, limit = ids.shape[1], ids.shape[1] + max_new_tokens
    rows = list(range(len(batch)))  # which request each row of the shrinking batch is
    generators = [torch.Generator().manual_seed(request.seed) for request in batch]
    cache: Any = None
    done: dict[int, Generated] = {}
    with torch.inference_mode(), _plain_generation(model):
        while rows:
            noise = [_GumbelNoise([generators[row] for row in rows], temperature)] if temperature > 0 else []
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=cache,
                generation_config=GenerationConfig(
                    max_new_tokens=limit - ids.shape[1], do_sample=False, use_cache=True,
                    eos_token_id=ends.tolist(), pad_token_id=tokenizer.pad_token_id,
                    return_dict_in_generate=True,
                ),
                logits_processor=LogitsProcessorList(noise),
                stopping_criteria=[_QuarterEnded(ends, start, len(rows))],
            )  # fmt: skip
            ids = output.sequences
            ended = torch.isin(ids[:, start:], ends).any(dim=1)
            over = ids.shape[1] >= limit
            for place, row in enumerate(rows):
                if ended[place] or over:
                    done[row] = _finished(tokenizer, batch[row].id, ids[place, start:].tolist(), ends)
            alive = torch.nonzero(~ended).flatten()
            rows = [] if over else [rows[place] for place in alive.tolist()]
            mask = torch.cat([mask, mask.new_ones(len(mask), ids.shape[1] - mask.shape[1])], 1)
            ids, mask = ids[alive], mask[alive]
            cache = _selected(output.past_key_values, alive) if rows else None
    return [done[row] for row in range(len(batch))]


def _selected(cache: Any, alive: torch.Tensor) -> Any:
    """The cache of the rows still alive; None (it is computed anew) for kinds of cache that cannot tell."""
    if not hasattr(cache, "batch_select_indices"):
        return None
    cache.batch_select_indices(alive)
    return cache


def _finished(tokenizer: Any, identifier: str, ids: list[int], ends: torch.Tensor) -> Generated:
    stops = set(ends.tolist())
    length = next((place for place, token in enumerate(ids) if token in stops), None)
    text = tokenizer.decode(ids[:length], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    ended = length is not None
    return Generated(identifier, clean(text), ended, len(ids) if length is None else length + 1)


def batches_of(tokenizer: Any, requests: Sequence[Request], batch_size: int) -> list[list[int]]:
    """The places of each batch's requests, the longest texts first; a union of batches is cut into the same ones."""
    if not requests:
        return []
    lengths = [len(ids) for ids in tokenizer([clean(r.text) for r in requests])["input_ids"]]
    order = sorted(range(len(requests)), key=lambda place: (-lengths[place], requests[place].id))
    return [order[first : first + batch_size] for first in range(0, len(order), batch_size)]


def generate(
    model: Any,
    tokenizer: Any,
    requests: Sequence[Request],
    *,
    folder: Path,
    model_key: str,
    batch_size: int,
    max_new_tokens: int,
    temperature: float,
    progress: Callable[[int], None] | None = None,
) -> list[Generated]:
    """Completions in the requests' order; every finished batch is kept as a Parquet file in `folder`.

    A chunk's name is a hash of all that decides its content (model_key stands for the weights), so a run that
    was broken off goes on where it was, and a chunk of other settings is never believed. progress(n): n more
    are done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done: dict[int, Generated] = {}
    for places in batches_of(tokenizer, requests, batch_size):
        batch = [requests[place] for place in places]
        path = folder / f"{_chunk_key(batch, model_key, max_new_tokens, temperature)}.parquet"
        results = _read_chunk(path, batch)
        if results is None:
            results = generate_batch(
                model, tokenizer, batch, max_new_tokens=max_new_tokens, temperature=temperature
            )
            _write_chunk(path, results)
        done.update(zip(places, results, strict=True))
        if progress:
            progress(len(places))
    return [done[place] for place in range(len(requests))]


def _chunk_key(batch: Sequence[Request], model_key: str, max_new_tokens: int, temperature: float) -> str:
    content = [model_key, max_new_tokens, temperature, [asdict(request) for request in batch]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _read_chunk(path: Path, batch: Sequence[Request]) -> list[Generated] | None:
    if not path.is_file():
        return None
    try:
        results = [Generated(**row) for row in pq.read_table(path).to_pylist()]
    except (OSError, pa.ArrowException, TypeError) as error:
        logger.warning("%s: not a readable chunk (%s); it is generated anew", path, error)
        return None
    return results if [r.id for r in results] == [r.id for r in batch] else None


def _write_chunk(path: Path, results: Sequence[Generated]) -> None:
    write_parquet([asdict(result) for result in results], _SCHEMA, path)


def write_parquet(rows: list[dict], schema: pa.Schema, path: Path) -> None:
    """Write rows, the same bytes for the same rows, under another name first: never half a file."""
    temporary = path.with_name(f".{path.name}.tmp")
    pq.write_table(
        pa.Table.from_pylist(rows, schema=schema), temporary,
        compression="zstd", row_group_size=1 << 20, store_schema=False,
    )  # fmt: skip
    temporary.replace(path)
