"""The harm model: a causal process reward model, p_harm of a reasoning prefix and of an answer.

A token-classification head with one logit per token, read at step ends and at the end of an answer. Being
causal, one forward pass over (x, z_1 … z_K) gives V_0 … V_K, and V_k depends on nothing after z_k; V_0 is
read at the end of the prompt. Probabilities are σ(logit / T), one temperature for steps and one for answers.

It is *not* a judge: it is learnt from labelled rows, and the policy's rewards come from it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForTokenClassification, PreTrainedTokenizerBase

from sear_core.chat_format import FORCED_PREFIX
from sear_core.errors import InputError
from sear_core.loading import load_model, load_tokenizer
from sear_core.reward_model.calibration import sigmoid
from sear_core.reward_model.encoding import (
    ANSWER_MARK,
    encode_answers,
    encode_prompts,
    encode_steps,
    length_batches,
    pad_right,
)

SETTINGS = "reward_model.json"


class HarmModel:
    """p_harm with the model's own tokenizer. Scores are plain floats in [0, 1], in the order of the input.

    `max_length` (tokens) is the training length. A prompt takes at most half of it, its middle cut out beyond
    that. A prefix that is longer is read in a pass of its own over the prompt and the prefix's last tokens:
    V_k stays a function of z_1 … z_k alone, and the reasoning is cut on its left. Of an answer that is longer
    the middle is cut out.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int,
        temperatures: dict[str, float] | None = None,
        batch_tokens: int = 16384,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.temperatures = {"steps": 1.0, "answers": 1.0, **(temperatures or {})}
        self.batch_tokens = batch_tokens  # padded tokens in one forward pass

    @classmethod
    def load(cls, path: str | Path, device: str | None = None, dtype: str = "float32") -> HarmModel:
        """Read a directory that `train_harm_model` wrote. Raises InputError where it is no such directory."""
        settings = load_settings(path, "harm")
        model = load_model(str(path), AutoModelForTokenClassification, dtype=dtype)
        model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(
            model, load_tokenizer(str(path)), max_length=settings["max_length"],
            temperatures=settings["temperatures"],
        )  # fmt: skip

    def score_steps(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[float]]:
        """[V_0, V_1, …, V_K] for each prompt and its K steps (K may be 0)."""
        temperature = self.temperatures["steps"]
        return [sigmoid([x / temperature for x in row]).tolist() for row in self.step_logits(prompts, steps)]

    def score_answers(self, prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
        """p_harm of each answer to its prompt."""
        logits = self.answer_logits(prompts, answers)
        return sigmoid([x / self.temperatures["answers"] for x in logits]).tolist()

    def step_logits(self, prompts: Sequence[str], steps: Sequence[Sequence[str]]) -> list[list[float]]:
        """As `score_steps`, before temperature and sigmoid."""
        assert len(prompts) == len(steps), f"{len(prompts)} prompts, {len(steps)} lists of steps"
        heads = encode_prompts(self.tokenizer, prompts, FORCED_PREFIX, self.max_length // 2)
        flat = encode_steps(self.tokenizer, [step for row in steps for step in row])
        jobs: list[tuple[list[int], list[int]]] = []  # (ids, positions read)
        owners: list[int] = []  # the row each job belongs to; a row's jobs are in the order of k
        start = 0
        for row, head in enumerate(heads):
            pieces = flat[start : start + len(steps[row])]
            start += len(steps[row])
            for job in prefix_jobs(head, pieces, self.max_length):
                jobs.append(job)
                owners.append(row)
        values: list[list[float]] = [[] for _ in prompts]
        for row, read in zip(owners, self._read(jobs), strict=True):
            values[row].extend(read)
        return values

    def answer_logits(self, prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
        """As `score_answers`, before temperature and sigmoid."""
        assert len(prompts) == len(answers), f"{len(prompts)} prompts, {len(answers)} answers"
        jobs = answer_jobs(self.tokenizer, prompts, answers, self.max_length)
        return [read[0] for read in self._read(jobs)]

    @torch.inference_mode()
    def _read(self, jobs: Sequence[tuple[list[int], list[int]]]) -> list[list[float]]:
        """Logits at the positions of each job; sorted by length inside, returned in the order given."""
        results: list[list[float]] = [[] for _ in jobs]
        for batch in length_batches([len(ids) for ids, _ in jobs], self.batch_tokens):
            logits = self._forward([jobs[i][0] for i in batch])
            for row, index in enumerate(batch):
                results[index] = logits[row, jobs[index][1]].tolist()
        return results

    def _forward(self, sequences: list[list[int]]) -> torch.Tensor:
        """Logits (B, T), float32, on the CPU."""
        ids = torch.tensor(pad_right(sequences, self.tokenizer.pad_token_id), device=self.model.device)
        mask = torch.tensor(pad_right([[1] * len(s) for s in sequences], 0), device=self.model.device)
        return self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits[..., 0].float().cpu()


def prefix_jobs(
    head: list[int], pieces: Sequence[list[int]], limit: int
) -> list[tuple[list[int], list[int]]]:
    """(ids, positions) that read V_0 … V_K: one pass over what fits in `limit`, one per longer prefix."""
    ids, positions = list(head), [len(head) - 1]
    for piece in pieces:
        ids.extend(piece)
        positions.append(len(ids) - 1)
    fitting = [position for position in positions if position < limit]
    jobs = [(ids[: fitting[-1] + 1], fitting)]
    room = limit - len(head)
    for position in positions[len(fitting) :]:
        tail = ids[position + 1 - room : position + 1]
        jobs.append((head + tail, [limit - 1]))
    return jobs


def answer_jobs(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], answers: Sequence[str], limit: int
) -> list[tuple[list[int], list[int]]]:
    """(ids, [position]) that read p_harm of each answer."""
    heads = encode_prompts(tokenizer, prompts, ANSWER_MARK, limit // 2)
    tails = encode_answers(tokenizer, answers, limit - limit // 2)
    return [(head + tail, [len(head) + len(tail) - 1]) for head, tail in zip(heads, tails, strict=True)]


def load_settings(path: str | Path, kind: str) -> dict[str, Any]:
    """The settings in a reward model's directory; raises InputError for another kind of directory."""
    file = Path(path) / SETTINGS
    if not file.is_file():
        raise InputError(f"{path}: no {SETTINGS}; expected a {kind} model written by the reward_model stage")
    settings = json.loads(file.read_text(encoding="utf-8"))
    if settings.get("kind") != kind:
        raise InputError(f"{file}: kind {settings.get('kind')!r}, expected {kind!r}")
    return settings
