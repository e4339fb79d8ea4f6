"""`forced_answer`: answers after every prefix from one shared prefix cache, against each prefix read by itself.

    python benchmarks/forced_answers.py --steps 8 --prefix 512 --answers 16

Both ways run in batches and decode with a cache; only the prefixes' computation differs. Prints both medians, the
ratio and whether the (greedy) answers are the same; exit code 1 below 2 times.
"""

from __future__ import annotations

import argparse
import random

from method_parts import SIZES, line, model, side_by_side, tokenizer

from sear_core.policy.prover import Prover
from sear_core.reward_model.encoding import encode_steps


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="demo")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--prefix", type=int, default=512, help="tokens of the shortest prefix, the prompt")
    parser.add_argument("--words", type=int, default=8, help="per step")
    parser.add_argument("--answers", type=int, default=16, help="tokens")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rng, own = random.Random(1), tokenizer()  # noqa: S311
    causal = model(options.size, "causal", len(own), own.pad_token_id)
    provers = [Prover(causal, own, cached=cached) for cached in (True, False)]
    for prover in provers:
        prover.eos = []  # a random model must not end early
    prompt = line(rng, 4)
    while len(own(prompt)["input_ids"]) < options.prefix:
        prompt += "\n" + line(rng, 4)
    prompts = [prompt] * options.rows
    steps = [[line(rng, options.words) for _ in range(options.steps)] for _ in prompts]
    longest = len(own(prompt)["input_ids"]) + sum(map(len, encode_steps(own, steps[0])))

    def answers(which: int) -> list:
        return provers[which].answers(
            prompts, steps, samples=1, max_new_tokens=options.answers, temperature=0.0
        )

    same = answers(0) == answers(1)
    fast, slow = side_by_side(lambda: answers(0), lambda: answers(1), options.repeats)
    print(
        f"K = {options.steps}, prefixes of {options.prefix} to {longest} tokens, answers of {options.answers}, "
        f"m = 1, {options.rows} reasonings, model {options.size}: cached {fast:.3f} s, each by itself {slow:.3f} s: "
        f"{slow / fast:.2f} times; {'the same' if same else 'other'} answers"
    )
    return 0 if slow / fast >= 2 else 1


if __name__ == "__main__":
    raise SystemExit(main())
