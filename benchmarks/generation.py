"""Evaluation's generation, batched by length, against one prompt at a time: completions per second.

    python benchmarks/generation.py [--model DIRECTORY] [--prompts N] [--batch N] [--threads N] [--repeats N]

Without a model: one of preset demo's size with random weights, and so many end tokens that completions have a geometric
length of 40 tokens on average, at most 96. "One at a time" is transformers' own `generate`, sampling at the same
temperature. Both ways take turns; the best of the repeats is printed, by the clock and by processor seconds (which
other work on the machine disturbs less).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from sear_core.chat_format import render_prompt
from sear_core.data.corpus import evaluation
from sear_core.evaluation.generation import Request, end_tokens, generate, row_seed
from sear_core.loading import load_causal_lm, load_tokenizer
from sear_core.tiny_model import build_tiny

TEMPERATURE, MAX_NEW_TOKENS, MEAN_LENGTH = 0.7, 96, 40


def random_model(texts: list[str]) -> tuple[Any, Any]:
    """Preset demo's size; 1 in MEAN_LENGTH tokens ends a completion."""
    model, tokenizer = build_tiny(
        texts, vocab_size=1024, hidden_size=128, layers=3, heads=4, max_positions=320, seed=0
    )
    model.generation_config.eos_token_id = list(range(100, 100 + len(tokenizer) // MEAN_LENGTH))
    return model.eval(), tokenizer


def timed(work: Callable[[], int]) -> tuple[float, float]:
    """Completions per second: by the clock, by processor time."""
    wall, used = time.perf_counter(), time.process_time()
    done = work()
    return done / (time.perf_counter() - wall), done / (time.process_time() - used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", help="a model directory")
    parser.add_argument("--prompts", type=int, default=405)
    parser.add_argument("--batch", type=int, default=135)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers_logging.set_verbosity_error()
    prompts = [row["prompt"] for row in evaluation()][: options.prompts]
    if options.model:
        tokenizer: Any = load_tokenizer(options.model)
        model: Any = load_causal_lm(options.model).eval()
    else:
        model, tokenizer = random_model(prompts)
    requests = [
        Request(str(i), render_prompt(tokenizer, prompt), row_seed(0, str(i), 0))
        for i, prompt in enumerate(prompts)
    ]
    alone = requests[:: max(1, len(requests) // 24)]  # enough to tell their rate
    ends = end_tokens(model, tokenizer)
    lengths: list[int] = []

    def batched() -> int:
        with tempfile.TemporaryDirectory() as folder:
            results = generate(
                model, tokenizer, requests, folder=Path(folder), model_key="", batch_size=options.batch,
                max_new_tokens=MAX_NEW_TOKENS, temperature=TEMPERATURE,
            )  # fmt: skip
        lengths[:] = [result.n_tokens for result in results]
        return len(results)

    def one_at_a_time() -> int:
        torch.manual_seed(0)
        with torch.inference_mode():
            for request in alone:
                encoded = tokenizer(request.text, return_tensors="pt")
                model.generate(
                    **encoded, max_new_tokens=MAX_NEW_TOKENS, do_sample=True, temperature=TEMPERATURE, top_k=0,
                    eos_token_id=ends, pad_token_id=tokenizer.pad_token_id,
                )  # fmt: skip
        return len(alone)

    batched(), one_at_a_time()  # to warm up
    found = [(timed(batched), timed(one_at_a_time)) for _ in range(options.repeats)]
    (many_wall, many_cpu), (one_wall, one_cpu) = (
        (max(pair[side][0] for pair in found), max(pair[side][1] for pair in found)) for side in (0, 1)
    )
    print(json.dumps({
        "prompts": len(requests), "batch": options.batch, "threads": options.threads,
        "tokens_per_completion": round(sum(lengths) / len(lengths), 1),
        "batched_per_second": round(many_wall, 1), "one_at_a_time_per_second": round(one_wall, 2),
        "ratio": round(many_wall / one_wall, 1), "ratio_by_processor_time": round(many_cpu / one_cpu, 1),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
