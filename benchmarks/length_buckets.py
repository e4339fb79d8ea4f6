"""One update with `length_buckets` against one padded batch (TRL's), on the demo's prompts, in turns in one process.

    python benchmarks/length_buckets.py              # 3 buckets, as the preset `demo` has it
    python benchmarks/length_buckets.py --buckets 2 4 6

Prompts, their prefills and the completions' lengths are those of the embedded corpus; the weights are random, so what
is sampled is replaced by the corpus' own texts, as in update.py (both ways sample all tokens that are allowed).
Processor time on a CPU. Exit code 1 where no number of buckets saves a fifth.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile

from datasets import Dataset
from method_parts import DEVICE, model, seconds
from transformers import AutoModelForCausalLM
from update import REFUSAL, update

from sear_core.chat_format import render_completion
from sear_core.data import corpus
from sear_core.policy.prompts import training_rows
from sear_core.policy.sear_config import SEARConfig
from sear_core.policy.sear_trainer import SEARTrainer
from sear_core.reward_model.harm_model import HarmModel
from sear_core.reward_model.helpfulness import HelpfulnessModel
from sear_core.tiny_model import build_tokenizer

GROUP, TOKENS = 6, 80  # the demo's


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--buckets", type=int, nargs="+", default=[3])
    parser.add_argument("--prompts", type=int, default=12, help="an update")
    parser.add_argument("--batches", type=int, default=6, help="different updates, each timed once a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rng = random.Random(1)  # noqa: S311
    traces = [row for row in corpus.traces() if row["kind"] == "trace"]
    own = build_tokenizer(
        [f"{row['prompt']}\n<think>\n{render_completion(row['reasoning'], row['answer'])}" for row in traces],
        1024,
    )
    prompts = [row for row in corpus.prompts() if row["split"] == "train"]
    rows, _ = training_rows(
        own, prompts, length=options.prompts * options.batches, seed=0, max_prompt_length=256
    )
    harm, helpfulness = (
        kind(model("demo-reward", head, len(own), own.pad_token_id), own, max_length=320)
        for kind, head in ((HarmModel, "tokens"), (HelpfulnessModel, "sequence"))
    )
    batch = options.prompts * GROUP
    works: dict[int, list] = {}
    with tempfile.TemporaryDirectory() as folder:
        model("demo", "causal", len(own), own.pad_token_id).save_pretrained(f"{folder}/policy")
        for buckets in (1, *options.buckets):
            config = SEARConfig(
                output_dir=folder, per_device_train_batch_size=batch, num_generations=GROUP, beta=0.02, bf16=False,
                max_completion_length=TOKENS, reference_refusal=REFUSAL, report_to="none", disable_tqdm=True,
                max_steps=1, save_strategy="no", use_cpu=DEVICE == "cpu", length_buckets=buckets,
            )  # fmt: skip
            policy = AutoModelForCausalLM.from_pretrained(f"{folder}/policy").to(DEVICE)
            trainer = SEARTrainer(
                policy, config, harm=harm, helpfulness=helpfulness, train_dataset=Dataset.from_list(rows),
                processing_class=own,
            )  # fmt: skip
            works[buckets] = []
            drawn = random.Random(2)  # noqa: S311  (the same completions for all)
            for start in range(0, len(rows), options.prompts):
                chosen = rows[start : start + options.prompts]
                completions = [completion(drawn, own, row, traces) for row in chosen for _ in range(GROUP)]
                works[buckets].append(update(trainer, chosen, GROUP, completions))
        for work in (works[1][0], *(works[buckets][0] for buckets in options.buckets)):
            work()  # warm-up
        times: dict[int, list[float]] = {buckets: [] for buckets in works}
        for _ in range(options.rounds):
            for place in range(options.batches):
                for buckets in rng.sample(list(works), len(works)):
                    times[buckets].append(seconds(works[buckets][place]))
    best = 1.0
    for buckets in options.buckets:
        ratio = statistics.median(a / b for a, b in zip(times[buckets], times[1], strict=True))
        best = min(best, ratio)
        medians = (statistics.median(times[of]) for of in (buckets, 1))
        print(
            f"{options.prompts} × {GROUP} completions, {DEVICE}: {{}} buckets {{:.2f}} s, one batch {{:.2f}} s: "
            f"{ratio:.3f} times (median of {len(times[1])} pairs)".format(buckets, *medians)
        )
    return 0 if best <= 0.8 else 1


def completion(rng: random.Random, own, row: dict, traces: list[dict]) -> list[int]:  # type: ignore[no-untyped-def]
    """A trace's completion of at most TOKENS tokens; behind a closed block its answer alone."""
    while True:
        trace = rng.choice(traces)
        text = render_completion(trace["reasoning"], trace["answer"])
        ids = own(trace["answer"] if "</think>" in row["prefill"] else text)["input_ids"]
        if len(ids) < TOKENS:
            return [*ids, own.eos_token_id]


if __name__ == "__main__":
    raise SystemExit(main())
