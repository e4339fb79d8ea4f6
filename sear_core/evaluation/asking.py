"""Asking: a model and what it is asked -> its completions under every condition, or one shard of them. Our choice.

Condition `none` comes first: `answer_prefill` and `other_reasoning` force the reasoning written there. A shard is
every n-th *batch* of a whole evaluation, never of rows: what shares a batch decides its padding, and so the last bits
of the logits. Shards come in two phases, for which batches there are under a condition that forces reasoning is known
only once all of `none` is written. What a shard hands over is finished batches (generation.py); whoever has those of
all shards in its `chunks` generates nothing, and gets what one process would have generated, to the bit.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from sear_core.chat_format import FORCED_PREFIX, render_prompt
from sear_core.errors import InputError
from sear_core.evaluation import suites
from sear_core.evaluation.attacks import NONE, Given, Sent, Tools, partners
from sear_core.evaluation.conditions import Condition, resolve
from sear_core.evaluation.generation import Request, batches_of, clean, generate, row_seed
from sear_core.evaluation.records import Answered
from sear_core.evaluation.suites import SuiteRow
from sear_core.loading import load_causal_lm, load_tokenizer
from sear_core.policy.segments import parse_completion

Progress = Callable[[int, int, str], None]  # completions done, of how many, condition at work
Own = Mapping[tuple[str, int], str]  # (row id, sample) -> the model's reasoning under condition `none`


@dataclass(frozen=True)
class Asked:
    """A loaded model and what it is asked."""

    tools: Tools
    suite: list[SuiteRow]
    conditions: list[Condition]
    rows: dict[str, list[SuiteRow]]  # by condition
    notes: list[str]  # on what is left out
    chunks: Path
    batch_size: int
    max_new_tokens: int
    temperature: float
    samples: int
    harmful_prefill_steps: int
    others: dict[str, str]  # row id -> the row whose reasoning `other_reasoning` gives it

    def jobs(self, condition: Condition) -> list[tuple[SuiteRow, int]]:
        """(row, sample) of every completion under the condition."""
        return [(row, sample) for row in self.rows[condition.name] for sample in range(self.samples)]


def ask(
    *,
    model_path: str,
    rows: Iterable[Mapping[str, Any]],
    chunks: Path,
    attacks: Sequence[str],
    batch_size: int,
    max_new_tokens: int,
    temperature: float,
    samples: int,
    seed: int,
    harmful_prefill_steps: int,
    reasoning_use: bool,
    strengths: Mapping[str, Sequence[int]] | None = None,
    artifacts: Mapping[str, str] | None = None,
    suite_names: Sequence[str] = (),
    limit: int | None = None,
    trust_remote_code: bool = False,
    revision: str | None = None,
    dtype: str = "float32",
    device: str | None = None,
) -> Asked:
    """Load a model (directory or hub name), and choose among rows of the table `evaluation`. Writes nothing.

    `chunks` is to hold finished batches. device None: CUDA where there is. `suite_names`: of the table's suites,
    empty for all; `strengths` and `artifacts`: see conditions.py. Raises InputError for an unusable suite, model,
    attack name, strength, artifact file, or sampling settings.
    """
    if samples > 1 and temperature == 0:
        raise InputError(
            f"samples = {samples} with temperature 0: greedy samples are all the same; expected 1"
        )
    conditions, missing = resolve(attacks, strengths, artifacts, reasoning_use, limit)
    everything = suites.choose(suites.from_table(rows), suite_names)
    notes = [*suites.check(everything), *missing]
    suite = suites.limit_per_category(everything, limit)
    partner = partners(suite) if reasoning_use else list(range(len(suite)))
    tokenizer = load_tokenizer(model_path, revision=revision, trust_remote_code=trust_remote_code)
    model: Any = load_causal_lm(
        model_path, dtype=dtype, revision=revision, trust_remote_code=trust_remote_code
    )
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    return Asked(
        tools=Tools(model, tokenizer, chunks / "found", seed, model_key(model_path, model, dtype)),
        suite=suite, conditions=conditions, notes=notes, chunks=chunks, batch_size=batch_size,
        rows={condition.name: list((condition.attack.rows or list)(suite)) for condition in conditions},
        max_new_tokens=max_new_tokens, temperature=temperature, samples=samples,
        harmful_prefill_steps=harmful_prefill_steps,
        others={row.id: suite[partner[place]].id for place, row in enumerate(suite)},
    )  # fmt: skip


def answers(asked: Asked, progress: Progress | None = None) -> Iterator[list[Answered]]:
    """What the model answers under one condition after the other."""
    total = sum(len(asked.jobs(condition)) for condition in asked.conditions)
    advance = _counter(progress, total)
    own: Own = {}
    for condition in asked.conditions:
        answered = _answered(asked, condition, own, advance)
        if condition.attack is NONE:
            own = _reasoning(answered)
        yield answered


def generate_shard(
    *, phase: Literal["none", "attacks"], index: int, of: int, chunks: Path, progress: Progress | None = None,
    **settings: Any,
) -> None:  # fmt: skip
    """Generate the index-th (from 1) of `of` shards into `chunks`; settings: those of `ask`.

    Phase `none` writes completions without attack, and has attacks search for what they keep. Phase `attacks` writes
    all others; the batches of phase `none` are expected in `chunks`, and generated where they are not.
    """
    asked = ask(chunks=chunks, **settings)
    first, *rest = asked.conditions
    own: Own = {}
    if phase == "none":
        for condition in (condition for condition in rest if condition.attack.keeps):
            for row, sample in asked.jobs(condition)[:: asked.samples][index - 1 :: of]:
                _sent(asked, condition, row, sample, own)
    else:
        own = _reasoning(_answered(asked, first, own, _counter(None, 0)))
    conditions = [first] if phase == "none" else rest
    sizes = [
        min(asked.batch_size, jobs - begin)
        for jobs in (len(asked.jobs(condition)) for condition in conditions)
        for begin in range(0, jobs, asked.batch_size)
    ]
    advance = _counter(progress, sum(sizes[index - 1 :: of]))
    turns = itertools.cycle(
        range(1, of + 1)
    )  # through all conditions: each may have fewer batches than shards
    for condition in conditions:
        requests = _requests(asked, condition, own)[1]
        batches = batches_of(asked.tools.tokenizer, requests, asked.batch_size)
        mine = [requests[place] for batch in batches if next(turns) == index for place in batch]
        _written(asked, condition, mine, advance)


def _answered(
    asked: Asked, condition: Condition, own: Own, advance: Callable[[int, str], None]
) -> list[Answered]:
    sent, requests = _requests(asked, condition, own)
    written = _written(asked, condition, requests, advance)
    beyond = _beyond_context(asked, requests)
    return [
        Answered(
            row, sample, condition, put, text, parse_completion(put.prefill + text.text, text.ended), over
        )
        for (row, sample), put, text, over in zip(asked.jobs(condition), sent, written, beyond, strict=True)
    ]


def _requests(asked: Asked, condition: Condition, own: Own) -> tuple[list[Sent], list[Request]]:
    """What is put before the model under a condition, and as texts to be continued."""
    jobs, tools = asked.jobs(condition), asked.tools
    sent = [_sent(asked, condition, row, sample, own) for row, sample in jobs]
    return sent, [
        Request(
            f"{row.id}#{sample}", render_prompt(tools.tokenizer, put.prompt, put.prefill),
            row_seed(tools.seed, row.id, sample) if asked.temperature > 0 else 0,
        )
        for (row, sample), put in zip(jobs, sent, strict=True)
    ]  # fmt: skip


def _sent(asked: Asked, condition: Condition, row: SuiteRow, sample: int, own: Own) -> Sent:
    sent = condition.attack.build(Given(
        row, own.get((row.id, sample), ""), own.get((asked.others.get(row.id, ""), sample), ""),
        condition.strength, asked.harmful_prefill_steps, asked.tools,
    ))  # fmt: skip
    return Sent(clean(sent.prompt), clean(sent.prefill))


def _written(
    asked: Asked, condition: Condition, requests: Sequence[Request], advance: Callable[[int, str], None]
) -> list[Any]:
    return generate(
        asked.tools.model, asked.tools.tokenizer, requests, folder=asked.chunks / condition.name,
        model_key=asked.tools.model_key, batch_size=asked.batch_size, max_new_tokens=asked.max_new_tokens,
        temperature=asked.temperature, progress=lambda count: advance(count, condition.name),
    )  # fmt: skip


def _reasoning(answered: Iterable[Answered]) -> Own:
    return {(item.row.id, item.sample): item.parsed.reasoning for item in answered}


def _counter(progress: Progress | None, total: int) -> Callable[[int, str], None]:
    """Counts completions, and tells of them."""
    done = 0

    def advance(count: int, name: str) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, total, name)

    return advance


def model_key(model_path: str, model: Any, dtype: str) -> str:
    """What stands for the weights in a chunk's name: a directory's bytes, or a hub name's commit."""
    digest = hashlib.sha256(f"{dtype}\0{model.device.type}\0{FORCED_PREFIX}".encode())
    folder = Path(model_path).expanduser()
    if folder.is_dir():
        for path in sorted(folder.glob("*.*")):
            if path.suffix in {".safetensors", ".json", ".jinja", ".model", ".txt"}:
                digest.update(path.name.encode())
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    else:
        digest.update(f"{model_path}\0{getattr(model.config, '_commit_hash', None)}".encode())
    return digest.hexdigest()


def _beyond_context(asked: Asked, requests: Sequence[Request]) -> list[bool]:
    """Which texts, fully continued, leave the positions the model was built for: counted, not hidden."""
    positions = getattr(asked.tools.model.config, "max_position_embeddings", None)
    if not positions:
        return [False] * len(requests)
    lengths = [len(ids) for ids in asked.tools.tokenizer([request.text for request in requests])["input_ids"]]
    return [length + asked.max_new_tokens > positions for length in lengths]
