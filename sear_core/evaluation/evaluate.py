"""One model, evaluated: the way of a row from the suite to the metrics. Our choice throughout.

    suite row --attacks--> request --generation--> completion --judges--> verdict --metrics--> rates

Condition `none` comes first: `answer_prefill` and `other_reasoning` force the reasoning written there.
Every step is pure but generation, which keeps its finished batches (generation.py), so that a run that was
broken off goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from sear_core.chat_format import FORCED_PREFIX, THINK_CLOSE, render_prompt
from sear_core.errors import InputError
from sear_core.evaluation import metrics, suites
from sear_core.evaluation.attacks import NONE, REASONING_USE, Attack, partners, resolve
from sear_core.evaluation.generation import Generated, Request, clean, generate, row_seed, write_parquet
from sear_core.evaluation.judges import Judge, Verdict, explored
from sear_core.evaluation.suites import SuiteRow
from sear_core.loading import load_causal_lm, load_tokenizer
from sear_core.policy.segments import Completion, parse_completion, split_steps

COMPLETIONS = pa.schema(
    [("id", pa.string()), ("sample", pa.int32()), ("condition", pa.string()), ("category", pa.string()),
     ("source", pa.string()), ("suite", pa.string()), ("slice", pa.string()), ("prompt", pa.string()),
     ("prefill", pa.string()), ("reasoning", pa.string()), ("answer", pa.string()), ("verdict", pa.string()),
     ("harmful", pa.bool_()), ("p_harm", pa.float32()), ("explored", pa.bool_()), ("malformed", pa.bool_()),
     ("truncated", pa.bool_()), ("closed", pa.bool_()), ("beyond_context", pa.bool_()),
     ("n_tokens", pa.int32()), ("reasoning_tokens", pa.int32()), ("step_values", pa.list_(pa.float32()))]
)  # fmt: skip
Progress = Callable[[int, int, str], None]  # completions done, of how many, condition at work


@dataclass(frozen=True)
class Answered:
    """A suite row and what the model made of it under one condition; parsed is prefill + written text."""

    row: SuiteRow
    sample: int
    condition: Attack
    prefill: str
    generated: Generated
    parsed: Completion
    beyond_context: bool

    @property
    def answer(self) -> str:
        """What is judged: the text after `</think>`, the whole output where that tag is missing (TARS §4)."""
        if self.parsed.close is not None:
            return self.parsed.answer
        return (self.prefill + self.generated.text).strip()


def evaluate_model(
    *,
    model_path: str,
    rows: Iterable[Mapping[str, Any]],
    out: Path,
    judge: Judge,
    attacks: Sequence[str],
    batch_size: int,
    max_new_tokens: int,
    temperature: float,
    samples: int,
    seed: int,
    harmful_prefill_steps: int,
    reasoning_use: bool,
    limit: int | None = None,
    max_steps: int = 8,
    trust_remote_code: bool = False,
    revision: str | None = None,
    dtype: str = "float32",
    device: str | None = None,
    chunks: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Evaluate a model (directory or hub name) on rows of the table `evaluation`; the headline metrics.

    Writes out/completions.parquet (COMPLETIONS), out/metrics.json (what is returned) and out/slices.json
    (`slices`, and `notes` on what was left out); the same bytes for the same input, on the same machine.
    `chunks` (default: out/chunks) holds finished batches until all is done. device None: CUDA where there is.
    Raises InputError for an unusable suite, model, attack name, or sampling settings.
    """
    if samples > 1 and temperature == 0:
        raise InputError(
            f"samples = {samples} with temperature 0: greedy samples are all the same; expected 1"
        )
    found = resolve(attacks)
    everything = suites.from_table(rows)
    notes = suites.check(everything)
    suite = suites.limit_per_category(everything, limit)
    conditions = [NONE, *found, *(REASONING_USE.values() if reasoning_use else ())]
    tokenizer = load_tokenizer(model_path, revision=revision, trust_remote_code=trust_remote_code)
    model: Any = load_causal_lm(
        model_path, dtype=dtype, revision=revision, trust_remote_code=trust_remote_code
    )
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    out.mkdir(parents=True, exist_ok=True)
    chunks = chunks or out / "chunks"
    key = model_key(model_path, model, dtype)

    answered: list[Answered] = []
    own: dict[tuple[str, int], str] = {}
    partner = partners(suite) if reasoning_use else list(range(len(suite)))
    total, done = len(suite) * samples * len(conditions), 0
    for condition in conditions:

        def advance(count: int, name: str = condition.name) -> None:
            nonlocal done
            done += count
            if progress:
                progress(done, total, name)

        jobs = [(place, sample) for place in range(len(suite)) for sample in range(samples)]
        prefills = []
        for place, sample in jobs:
            row, other = suite[place], suite[partner[place]]
            reasonings = (own.get((row.id, sample), ""), own.get((other.id, sample), ""))
            prefills.append(clean(condition.build(row, *reasonings, harmful_prefill_steps)))
        requests = [
            Request(
                f"{suite[place].id}#{sample}",
                render_prompt(tokenizer, clean(suite[place].prompt), prefill),
                row_seed(seed, suite[place].id, sample) if temperature > 0 else 0,
            )
            for (place, sample), prefill in zip(jobs, prefills, strict=True)
        ]
        written = generate(
            model, tokenizer, requests, folder=chunks / condition.name, model_key=key, batch_size=batch_size,
            max_new_tokens=max_new_tokens, temperature=temperature, progress=advance,
        )  # fmt: skip
        beyond = _beyond_context(model, tokenizer, requests, max_new_tokens)
        for (place, sample), prefill, text, over in zip(jobs, prefills, written, beyond, strict=True):
            parsed = parse_completion(prefill + text.text, text.ended)
            answered.append(Answered(suite[place], sample, condition, prefill, text, parsed, over))
            if condition is NONE:
                own[suite[place].id, sample] = parsed.reasoning

    records = judge_all(answered, judge, tokenizer, max_steps)
    judged = [_judged(record) for record in records]
    summary = metrics.summarise(judged, [attack.name for attack in found], reasoning_use)
    table = metrics.slices(judged, ["none", *(attack.name for attack in found)])
    write_parquet(records, COMPLETIONS, out / "completions.parquet")
    _write_json(out / "slices.json", {"slices": table, "notes": [*notes, *summary.notes]})
    _write_json(out / "metrics.json", summary.values)
    shutil.rmtree(chunks, ignore_errors=True)
    return summary.values


def judge_all(answered: Sequence[Answered], judge: Judge, tokenizer: Any, max_steps: int) -> list[dict]:
    """A row of COMPLETIONS per completion. Reasoning is scored where the model wrote at least part of it."""
    prompts = [clean(item.row.prompt) for item in answered]
    verdicts: list[Verdict] = judge.judge(
        prompts, [item.answer for item in answered], [item.row.category for item in answered]
    )
    open_block = [i for i, item in enumerate(answered) if THINK_CLOSE not in item.prefill]
    steps = [[step.text for step in split_steps(answered[i].parsed.reasoning, max_steps)] for i in open_block]
    scored = dict(zip(open_block, judge.levels([prompts[i] for i in open_block], steps), strict=True))
    lengths = [
        len(ids)
        for ids in tokenizer([i.parsed.reasoning for i in answered], add_special_tokens=False)["input_ids"]
    ]
    return [
        {
            "id": item.row.id, "sample": item.sample, "condition": item.condition.name,
            "category": item.row.category, "source": clean(item.row.source), "suite": clean(item.row.suite),
            "slice": clean(item.row.slice), "prompt": clean(item.row.prompt), "prefill": item.prefill,
            "reasoning": item.parsed.reasoning.strip(), "answer": item.answer, "verdict": verdict.outcome,
            "harmful": verdict.harmful, "p_harm": verdict.p_harm, "explored": explored(scored.get(index)),
            "malformed": not item.parsed.well_formed, "truncated": not item.generated.ended,
            "closed": item.parsed.close is not None, "beyond_context": item.beyond_context,
            "n_tokens": item.generated.n_tokens, "reasoning_tokens": lengths[index],
            "step_values": scored.get(index),
        }
        for index, (item, verdict) in enumerate(zip(answered, verdicts, strict=True))
    ]  # fmt: skip


def _judged(record: Mapping[str, Any]) -> metrics.Judged:
    names = [name for name in metrics.Judged.__dataclass_fields__ if name != "outcome"]
    return metrics.Judged(outcome=record["verdict"], **{name: record[name] for name in names})


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


def _beyond_context(
    model: Any, tokenizer: Any, requests: Sequence[Request], max_new_tokens: int
) -> list[bool]:
    """Which texts, fully continued, leave the positions the model was built for: counted, not hidden."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if not positions:
        return [False] * len(requests)
    lengths = [len(ids) for ids in tokenizer([request.text for request in requests])["input_ids"]]
    return [length + max_new_tokens > positions for length in lengths]


def _write_json(path: Path, content: Any) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n", "utf-8")
    temporary.replace(path)
