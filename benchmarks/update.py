"""One update, SEAR with the process reward `harm_model`, against TRL's own GRPO: same batch, one process, in turns.

    python benchmarks/update.py                      # the demo's sizes, on a CPU
    python benchmarks/update.py --size 0.5b --prompts 8 --group 8 --tokens 512        # on a GPU

Both arms sample with the same model, whose samples are then replaced by the same well-formed completions of that
length (a random model writes none); both score answers with the same harm and helpfulness models. SEAR's further
work is what is measured: step values, segments, advantages per token. Memory: the peak of an update above the
resting level, so that the weights, the same for both, do not hide a difference. Exit code 1 above 1.10 times the
time or 1.15 times the memory.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from method_parts import DEVICE, SIZES, line, model, seconds, tokenizer
from transformers import AutoModelForCausalLM
from trl import GRPOTrainer

from sear_core.policy.prompts import training_rows
from sear_core.policy.rewards import answer_reward
from sear_core.policy.sear_config import SEARConfig
from sear_core.policy.sear_trainer import SEARTrainer
from sear_core.reward_model.harm_model import HarmModel
from sear_core.reward_model.helpfulness import HelpfulnessModel

REFUSAL = "no, not that."


def peak_above_rest(work: Any) -> float:
    """MiB: the peak during `work` less what is held before it."""
    gc.collect()
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        rest = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - rest) / 2**20
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak of the resident set
    rest = _kib("VmRSS")
    work()
    return (_kib("VmHWM") - rest) / 1024


def _kib(name: str) -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in status if row.startswith(f"{name}:"))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="demo")
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--group", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=80, help="per completion")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    rng, own = random.Random(1), tokenizer()  # noqa: S311
    rewards = "demo-reward" if options.size == "demo" else options.size  # as the presets have it
    harm = HarmModel(model(rewards, "tokens", len(own), own.pad_token_id), own, max_length=4096)
    helpfulness = HelpfulnessModel(
        model(rewards, "sequence", len(own), own.pad_token_id), own, max_length=4096
    )
    prompts = [
        {"prompt": line(rng, 6), "category": category}
        for category in ("harmful", "harmless", "ambiguous")
        for _ in range(options.prompts)
    ]
    rows, _ = training_rows(own, prompts, length=options.prompts, seed=0, max_prompt_length=256)
    batch = options.prompts * options.group
    completions = [completion(rng, own, options.tokens, options.steps) for _ in range(batch)]
    config = dict(
        per_device_train_batch_size=batch, num_generations=options.group, beta=0.02, use_cpu=DEVICE == "cpu",
        max_completion_length=options.tokens, reference_refusal=REFUSAL, report_to="none", disable_tqdm=True,
        max_steps=1, save_strategy="no", bf16=False,
    )  # fmt: skip

    def answer(
        completion_ids: list[list[int]], question: list[str], category: list[str], **_: Any
    ) -> list[float]:
        """r_ans, as SEAR's, without anything about steps."""
        answers = [
            own.decode(ids, skip_special_tokens=True).split("</think>")[1].strip() for ids in completion_ids
        ]
        harmful = [n for n, name in enumerate(category) if name == "harmful"]
        p_harm = dict(zip(harmful, harm.score_answers([question[n] for n in harmful], [answers[n] for n in harmful]),
                          strict=True))  # fmt: skip
        helpful = helpfulness.score(question, answers)
        asked = sorted(set(question))
        reference = dict(zip(asked, helpfulness.score(asked, [REFUSAL] * len(asked)), strict=True))
        return [
            answer_reward(True, category[n], p_harm.get(n, float("nan")), helpful[n], reference[question[n]])
            for n in range(len(question))
        ]

    with tempfile.TemporaryDirectory() as folder:
        arguments = SEARConfig(output_dir=folder, **config)
        common = {"train_dataset": Dataset.from_list(rows), "processing_class": own}
        # TRL loads the reference model from the policy's path
        model(options.size, "causal", len(own), own.pad_token_id).save_pretrained(f"{folder}/policy")
        policies = [AutoModelForCausalLM.from_pretrained(f"{folder}/policy").to(DEVICE) for _ in range(2)]
        sear = SEARTrainer(policies[0], arguments, harm=harm, helpfulness=helpfulness, **common)
        grpo = GRPOTrainer(model=policies[1], reward_funcs=[answer], args=arguments, **common)
        updates = [update(trainer, rows, options.group, completions) for trainer in (sear, grpo)]
        times: tuple[list[float], list[float]] = ([], [])
        peaks: tuple[list[float], list[float]] = ([], [])
        for work in updates:
            work()
        for n in range(options.repeats):
            for which in (0, 1) if n % 2 else (1, 0):
                times[which].append(seconds(updates[which]))
        for n in range(5):
            for which in (0, 1) if n % 2 else (1, 0):
                peaks[which].append(peak_above_rest(updates[which]))
    spent, held = ([statistics.median(x) for x in pair] for pair in (times, peaks))
    pairs = statistics.median(a / b for a, b in zip(*times, strict=True))
    print(
        f"model {options.size}, {options.prompts} × {options.group} completions of {options.tokens} tokens, {DEVICE}: "
        f"SEAR {spent[0]:.2f} s, GRPO {spent[1]:.2f} s: {pairs:.3f} times (median of pairs); peak above rest "
        f"{held[0]:.0f} and {held[1]:.0f} MiB: {held[0] / held[1]:.3f} times; "
        f"{batch * options.tokens / spent[0]:.0f} tokens a second"
    )
    return 0 if pairs <= 1.10 and held[0] <= 1.15 * held[1] else 1


def completion(rng: random.Random, own: Any, tokens: int, steps: int) -> list[int]:
    """A well-formed completion of just so many tokens, its end included; about two thirds of it are reasoning."""
    answer = (
        own("\n</think>\n")["input_ids"]
        + own(line(rng, max(2, tokens // 8)))["input_ids"]
        + [own.eos_token_id]
    )
    reasoning: list[int] = []
    while len(reasoning) < tokens - len(answer):
        reasoning += own(line(rng, max(2, tokens // steps // 3)) + "\n")["input_ids"]
    return reasoning[: tokens - len(answer)] + answer


def update(trainer: Any, rows: list[dict], group: int, completions: list[list[int]]) -> Any:
    """A function that does one update: sample, score, loss, backward, optimiser."""
    optimizer = torch.optim.AdamW(trainer.model.parameters(), lr=1e-6)
    sample = trainer._generate_single_turn

    def replaced(*arguments: Any, **options: Any) -> Any:
        _, logps = sample(*arguments, **options)
        return [list(ids) for ids in completions], logps

    trainer._generate_single_turn = replaced
    trainer.current_gradient_accumulation_steps = 1

    def work() -> None:
        torch.manual_seed(0)
        trainer.model.train()
        inputs = trainer._generate_and_score_completions([dict(row) for row in rows for _ in range(group)])
        trainer.compute_loss(trainer.model, inputs).backward()
        optimizer.step()
        optimizer.zero_grad()

    return work


if __name__ == "__main__":
    raise SystemExit(main())
