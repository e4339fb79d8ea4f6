"""What the benchmarks of the method share: a random model of any size, reward models on it, texts, and a clock."""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    LlamaConfig,
    Qwen2Config,
)

from sear_core.tiny_model import build_tokenizer

WORDS = [
    "plan",
    "way",
    "part",
    "tool",
    "mill",
    "boat",
    "lamp",
    "kite",
    "road",
    "hand",
    "word",
    "time",
    "line",
    "turn",
    "step",
    "door",
    "wall",
    "gate",
    "hill",
]
# Hidden size, layers, heads, key-value heads, feed-forward, vocabulary: the demo's, and those of Qwen2.5's configs.
SIZES = {
    "demo": (128, 3, 4, 4, 352, None),
    "demo-reward": (96, 2, 4, 4, 256, None),
    "small": (256, 4, 4, 4, 704, None),
    "0.5b": (896, 24, 14, 2, 4864, 151936),
    "1.5b": (1536, 28, 12, 2, 8960, 151936),
}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.bfloat16 if DEVICE == "cuda" else torch.float32


def line(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words)) + "."


def tokenizer() -> Any:
    rng = random.Random(0)  # noqa: S311
    return build_tokenizer([line(rng, 12) for _ in range(200)] + ["<think>\n", "\n</think>\n"], 600)


def model(size: str, kind: str, vocabulary: int, pad: int, positions: int = 4096) -> Any:
    """A random model: kind "causal", "tokens" or "sequence" (one logit)."""
    hidden, layers, heads, key_value, forward, own_vocabulary = SIZES[size]
    config_class = LlamaConfig if own_vocabulary is None else Qwen2Config
    config = config_class(
        vocab_size=own_vocabulary or vocabulary, hidden_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=key_value, intermediate_size=forward,
        max_position_embeddings=positions, tie_word_embeddings=True, pad_token_id=pad, bos_token_id=None,
        eos_token_id=1,
    )  # fmt: skip
    auto = {
        "causal": AutoModelForCausalLM,
        "tokens": AutoModelForTokenClassification,
        "sequence": AutoModelForSequenceClassification,
    }[kind]
    if kind != "causal":
        config.num_labels = 1
    torch.manual_seed(0)
    return auto.from_config(config, dtype=DTYPE).to(DEVICE)


def seconds(work: Callable[[], Any]) -> float:
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter() if DEVICE == "cuda" else time.process_time()
    work()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() if DEVICE == "cuda" else time.process_time()) - began


def side_by_side(one: Callable[[], Any], two: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median seconds of each (processor time on a CPU), taken in turns after a warm-up."""
    one(), two()
    times: tuple[list[float], list[float]] = ([], [])
    for n in range(repeats):
        for which in (0, 1) if n % 2 else (1, 0):
            times[which].append(seconds((one, two)[which]))
    return statistics.median(times[0]), statistics.median(times[1])
