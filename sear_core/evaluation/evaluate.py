"""One model, evaluated: the way of a row from the suite to the metrics. Our choice throughout.

    suite row --attacks--> request --generation--> completion --judges--> verdict --metrics--> rates

Condition `none` comes first: `answer_prefill` and `other_reasoning` force the reasoning written there.
Every step is pure but generation, which keeps its finished batches (generation.py), so that a run that was
broken off goes on where it was.

What an evaluation's directory holds (an interval is `[value, low, high]`, 95 %):

    completions.parquet  a row per completion (records.COMPLETIONS): enough to judge again without generating
    metrics.json         {name: number}: the headline rates, each with `.low` and `.high`; under an attack at its
                         default strength `dsr.<attack>`, at strength k `dsr.<attack>@<k>` (and so on for the
                         others); `minimum_detectable.<rate>`: two models that differ by less cannot be told apart;
                         `worst_slice.<rate>`
    slices.json          {"rows": [{"suite", "slice", "condition", "metric": "dsr" | "compliance" | "accuracy",
                         "value", "low", "high", "prompts"}], "suites": the same of whole suites (slice ""),
                         "worst": {metric: one of the rows}, "notes": [what was left out, and why]}
    curves.json          {attack: {"unit": "words" | "tokens" | …, "description", "points": [{"condition",
                         "strength": number, "default": bool, "dsr": interval | null,
                         "compliance": interval | null, "malformed": interval | null}]}}, by rising strength;
                         strength 0 is condition `none`. Of a default that is no number (the whole text) the
                         strength is what it forced, on average
    evaluation.json      {"schema_version": 1, "judge", "seed", "samples", "temperature", "conditions": [{"name",
                         "attack", "strength": number | null, "unit", "default", "kind", "description"}],
                         "suites": {suite: {category: prompts}}}
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from sear_core.chat_format import FORCED_PREFIX, render_prompt
from sear_core.errors import InputError
from sear_core.evaluation import capability, metrics, slices, suites
from sear_core.evaluation.attacks import NONE, Attack, Given, Sent, Tools, partners
from sear_core.evaluation.conditions import Condition, resolve
from sear_core.evaluation.generation import Request, clean, generate, row_seed, write_parquet
from sear_core.evaluation.judges import Judge
from sear_core.evaluation.records import COMPLETIONS, Answered, judge_records, judged, record
from sear_core.loading import load_causal_lm, load_tokenizer
from sear_core.policy.segments import parse_completion

SCHEMA_VERSION = 1
CARRIED = ("perplexity", "bits_per_byte")  # what judging anew cannot tell
Progress = Callable[[int, int, str], None]  # completions done, of how many, condition at work


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
    strengths: Mapping[str, Sequence[int]] | None = None,
    artifacts: Mapping[str, str] | None = None,
    suite_names: Sequence[str] = (),
    reasoning_harmlessness: bool = False,
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

    Writes the files above; the same bytes for the same input, on the same machine. `chunks` (default:
    out/chunks) holds finished batches until all is done. device None: CUDA where there is. `suite_names`: of
    the table's suites, empty for all; `strengths` and `artifacts`: see conditions.py. Raises InputError for an
    unusable suite, model, attack name, strength, artifact file, or sampling settings.
    """
    if samples > 1 and temperature == 0:
        raise InputError(
            f"samples = {samples} with temperature 0: greedy samples are all the same; expected 1"
        )
    conditions, missing = resolve(attacks, strengths, artifacts, reasoning_use, limit)
    everything = suites.choose(suites.from_table(rows), suite_names)
    notes = [*suites.check(everything), *missing]
    suite = suites.limit_per_category(everything, limit)
    asked = {condition.name: list((condition.attack.rows or list)(suite)) for condition in conditions}
    tokenizer = load_tokenizer(model_path, revision=revision, trust_remote_code=trust_remote_code)
    model: Any = load_causal_lm(
        model_path, dtype=dtype, revision=revision, trust_remote_code=trust_remote_code
    )
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    out.mkdir(parents=True, exist_ok=True)
    chunks = chunks or out / "chunks"
    key = model_key(model_path, model, dtype)
    tools = Tools(model, tokenizer, chunks / "found", seed, key)

    records: list[dict[str, Any]] = []
    own: dict[tuple[str, int], str] = {}
    partner = partners(suite) if reasoning_use else list(range(len(suite)))
    others = {row.id: suite[partner[place]].id for place, row in enumerate(suite)}
    total, done = sum(map(len, asked.values())) * samples, 0
    for condition in conditions:

        def advance(count: int, name: str = condition.name) -> None:
            nonlocal done
            done += count
            if progress:
                progress(done, total, name)

        jobs = [(row, sample) for row in asked[condition.name] for sample in range(samples)]
        sent = [
            _sent(condition, Given(
                row, own.get((row.id, sample), ""), own.get((others.get(row.id, ""), sample), ""),
                condition.strength, harmful_prefill_steps, tools,
            ))
            for row, sample in jobs
        ]  # fmt: skip
        requests = [
            Request(
                f"{row.id}#{sample}", render_prompt(tokenizer, put.prompt, put.prefill),
                row_seed(seed, row.id, sample) if temperature > 0 else 0,
            )
            for (row, sample), put in zip(jobs, sent, strict=True)
        ]  # fmt: skip
        written = generate(
            model, tokenizer, requests, folder=chunks / condition.name, model_key=key, batch_size=batch_size,
            max_new_tokens=max_new_tokens, temperature=temperature, progress=advance,
        )  # fmt: skip
        beyond = _beyond_context(model, tokenizer, requests, max_new_tokens)
        answered = [
            Answered(
                row, sample, condition, put, text, parse_completion(put.prefill + text.text, text.ended), over
            )
            for (row, sample), put, text, over in zip(jobs, sent, written, beyond, strict=True)
        ]
        if condition.attack is NONE:
            own = {(item.row.id, item.sample): item.parsed.reasoning for item in answered}
        records += record(answered, tokenizer)

    about = {
        "schema_version": SCHEMA_VERSION, "judge": judge.name, "seed": seed, "samples": samples,
        "temperature": temperature, "conditions": [condition.as_json() for condition in conditions],
        "suites": suites.counts(suite), "reasoning_harmlessness": reasoning_harmlessness,
    }  # fmt: skip
    skill = capability.perplexity(model, tokenizer, suite, batch_size)
    values = finish(judge_records(records, judge, max_steps), conditions, about, notes, _flat(skill), out)
    shutil.rmtree(chunks, ignore_errors=True)
    return values


def rejudge(*, source: Path, out: Path, judge: Judge, max_steps: int = 8) -> dict[str, float]:
    """Judge a finished evaluation's completions anew, without the model; writes the same files into `out`.

    What only the model can tell (perplexity) is taken over. Raises InputError where `source` is no evaluation.
    """
    about, records, before = _read(source)
    about |= {"judge": judge.name}
    conditions = [
        Condition(
            Attack(row["attack"], row["description"], NONE.build, row["kind"], row["unit"], row["default"]),
            row["strength"],
        )
        for row in about["conditions"]
    ]
    carried = {name: value for name, value in before.items() if name.startswith(CARRIED)}
    out.mkdir(parents=True, exist_ok=True)
    return finish(judge_records(records, judge, max_steps), conditions, about, [], carried, out)


def finish(
    records: list[dict[str, Any]],
    conditions: Sequence[Condition],
    about: Mapping[str, Any],
    notes: Sequence[str],
    extra: Mapping[str, float],
    out: Path,
) -> dict[str, float]:
    """Judged records -> metrics, slices, curves; all written into `out`."""
    rows = [judged(row) for row in records]
    attacks = [condition for condition in conditions if condition.attack.kind == "attack"]
    summary = metrics.summarise(
        rows,
        [condition.name for condition in attacks if condition.strength is None],
        any(condition.attack.kind == "reasoning_use" for condition in conditions),
        [condition.name for condition in attacks if condition.strength is not None],
        bool(about.get("reasoning_harmlessness")),
    )
    table = slices.slice_rows(rows, ["none", *(condition.name for condition in attacks)])
    parts = [row for row in table if row["slice"]]
    worst = slices.worst(parts)
    values = summary.values | dict(extra)
    for name, row in worst.items():
        values |= _flat({f"worst_slice.{name}": (row["value"], row["low"], row["high"])})
    forced: dict[str, list[int]] = {}
    for row in records:
        forced.setdefault(row["condition"], []).append(row["forced"])
    means = {name: sum(numbers) / len(numbers) for name, numbers in forced.items()}
    write_parquet(records, COMPLETIONS, out / "completions.parquet")
    _write_json(
        out / "slices.json",
        {
            "rows": parts,
            "suites": [row for row in table if not row["slice"]],
            "worst": worst,
            "notes": [*notes, *summary.notes],
        },
    )
    _write_json(out / "curves.json", slices.curves(rows, conditions, means))
    _write_json(out / "evaluation.json", about)
    _write_json(out / "metrics.json", values)
    return values


def _read(source: Path) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, float]]:
    """What an evaluation was, its completions, its metrics."""
    folder = source.parent if source.name == "completions.parquet" else source
    try:
        about = json.loads((folder / "evaluation.json").read_text("utf-8"))
        before = json.loads((folder / "metrics.json").read_text("utf-8"))
        table = pq.read_table(folder / "completions.parquet")
    except FileNotFoundError as error:
        raise InputError(
            f"{source}: no {Path(str(error.filename)).name} there; expected the directory of an evaluation"
        ) from None
    except (ValueError, OSError, pa.ArrowException) as error:
        raise InputError(f"{source}: cannot be read as an evaluation: {error}") from None
    missing = [name for name in COMPLETIONS.names if name not in table.column_names]
    if missing or about.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{source}: an evaluation of another version{f' (no column {missing[0]!r})' if missing else ''}"
        )
    return about, table.to_pylist(), before


def _sent(condition: Condition, given: Given) -> Sent:
    sent = condition.attack.build(given)
    return Sent(clean(sent.prompt), clean(sent.prefill))


def _flat(intervals: Mapping[str, tuple[float, float, float]]) -> dict[str, float]:
    """{name, name.low, name.high}, without what is not a number."""
    ends = ("", ".low", ".high")
    return {
        f"{name}{end}": number
        for name, interval in intervals.items()
        for end, number in zip(ends, interval, strict=True)
        if number == number
    }


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
