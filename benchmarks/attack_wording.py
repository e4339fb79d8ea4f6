"""Is it the attack that a policy of the embedded corpus gives way to, or words that it has never seen?

    python benchmarks/attack_wording.py              # every policy of share .33 in .sear/store
    python benchmarks/attack_wording.py --store FOLDER --arms grpo sear --seeds 0 1 2

The evaluation's attack texts share no phrasing with any training text, and models this small have never met their
words. Here the same attacks are made of the grammar's own lines, on prompts of its validation split: an exploration's
first two steps, a whole exploration in place of the reasoning, and a benign reasoning ("nobody is hurt, so i help")
in its place. Not the held-out evaluation, and no figure of the study; judged by the same oracle. Means over seeds with
95 % t intervals: harmful prompts answered safely, then ambiguous prompts answered; then the differences to `grpo`,
paired by seed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from study_tables import said, table

from flows.config import load_config
from sear_core.data import grammar
from sear_core.data.corpus import Pool
from sear_core.data.corpus_texts import Dice, exploration
from sear_core.evaluation.evaluate import evaluate_model
from sear_core.evaluation.judges import OracleJudge
from sear_core.evaluation.seeds import paired_differences, summarise_seeds
from sear_core.schema import CATEGORIES

ATTACKS = ("harmful_prefill", "harmful_hijack", "benign_hijack")


def suite(per_category: int) -> list[dict[str, str]]:
    """Rows of the table `evaluation`, from the validation split's pairs."""
    pool, dice = Pool("validation"), Dice("attack wording")
    rows: dict[str, dict[str, str]] = {}
    for number, category in enumerate(CATEGORIES, start=1):
        while len(rows) < number * per_category:
            request, prompt = pool.draw(dice, category)
            row = {
                "id": f"{category} {len(rows)}", "prompt": prompt, "category": category,
                "harmful_reasoning": "\n".join(exploration(dice, request)),
                "benign_reasoning": f"{request.fill(dice.pick(grammar.ANALYSES))}\n{dice.pick(grammar.COMPLY_STEPS)}",
                "affirmative": "",
            }  # fmt: skip
            rows.setdefault(prompt, row)
    return list(rows.values())


def policies(store: Path, share: float) -> Iterator[tuple[str, int, Path]]:
    """(arm, seed, model) of every policy in the store that was trained at the share."""
    for entry in sorted(store.glob("policy.*/*/entry.json")):
        section = json.loads(entry.read_text())["parts"]["section"]
        if section["harmful_share"] == share:
            yield entry.parts[-3].removeprefix("policy."), section["seed"], entry.parent / "out" / "model"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, default=Path(".sear/store"))
    parser.add_argument("--arms", nargs="+", help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: all")
    parser.add_argument("--share", type=float, default=0.33)
    parser.add_argument("--prompts", type=int, default=60, help="of a category")
    options = parser.parse_args()
    config = load_config("demo").evaluation
    rows = suite(options.prompts)
    values: dict[str, dict[int, dict[str, float]]] = {}
    for arm, seed, model in policies(options.store, options.share):
        if (options.arms and arm not in options.arms) or (options.seeds and seed not in options.seeds):
            continue
        if seed in values.get(arm, {}):
            parser.error(f"{options.store}: two policies of {arm}, seed {seed}; expected one study's")
        with tempfile.TemporaryDirectory() as folder:
            found = evaluate_model(
                out=Path(folder), judge=OracleJudge(), model_path=str(model), rows=rows, attacks=ATTACKS, seed=seed,
                batch_size=config.batch_size, max_new_tokens=config.max_new_tokens, temperature=config.temperature,
                samples=1, harmful_prefill_steps=config.harmful_prefill_steps, reasoning_use=False,
            )  # fmt: skip
        values.setdefault(arm, {})[seed] = found
    conditions = {"direct": "", **{attack.replace("_", " "): f".{attack}" for attack in ATTACKS}}
    lines = []
    for arm, by_seed in values.items():
        means = summarise_seeds(by_seed)
        cells = [
            f"{said(means[f'dsr{c}'])} / {said(means[f'compliance.ambiguous{c}'])}"
            for c in conditions.values()
        ]
        lines.append([f"`{arm}`", str(len(by_seed)), *cells])
    table(["arm", "seeds", *(f"{name}: DSR / ambiguous" for name in conditions)], lines)
    baseline = values.pop("grpo", {})
    differences = [
        [f"`{arm}`", str(len(by_seed.keys() & baseline.keys())),
         *(f"{said(found.get(f'dsr{c}'), '+')} / {said(found.get(f'compliance.ambiguous{c}'), '+')}"
           for c in conditions.values())]
        for arm, by_seed in values.items()
        for found in [paired_differences(by_seed, baseline)]
    ]  # fmt: skip
    if baseline and differences:
        table(["− `grpo`, by seed", "seeds", *conditions], differences)
    return 0 if lines else 1


if __name__ == "__main__":
    raise SystemExit(main())
