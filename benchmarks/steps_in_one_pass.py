"""Scoring all steps of a reasoning in one forward pass, against a pass per prefix.

    python benchmarks/steps_in_one_pass.py --steps 8

Prints both medians, the ratio and the greatest difference of a score; exit code 1 below 4 times or above 1e-5.
"""

from __future__ import annotations

import argparse
import random

from method_parts import SIZES, line, model, side_by_side, tokenizer

from sear_core.reward_model.harm_model import HarmModel


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="demo")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--words", type=int, default=12, help="per step")
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    rng, own = random.Random(1), tokenizer()  # noqa: S311
    harm = HarmModel(model(options.size, "tokens", len(own), own.pad_token_id), own, max_length=4096)
    prompts = [line(rng, 8) for _ in range(options.rows)]
    steps = [[line(rng, options.words) for _ in range(options.steps)] for _ in prompts]
    prefixes = [row[:k] for row in steps for k in range(options.steps + 1)]
    asked = [prompt for prompt in prompts for _ in range(options.steps + 1)]

    def at_once() -> list[float]:
        return [value for row in harm.score_steps(prompts, steps) for value in row]

    def one_by_one() -> list[float]:
        return [row[-1] for row in harm.score_steps(asked, prefixes)]

    difference = max(abs(a - b) for a, b in zip(at_once(), one_by_one(), strict=True))
    fast, slow = side_by_side(at_once, one_by_one, options.repeats)
    print(f"K = {options.steps}, {options.rows} reasonings, model {options.size}: one pass {fast:.3f} s, "
          f"a pass per prefix {slow:.3f} s: {slow / fast:.2f} times; scores differ by {difference:.1e}")  # fmt: skip
    return 0 if slow / fast >= 4 and difference <= 1e-5 else 1


if __name__ == "__main__":
    raise SystemExit(main())
