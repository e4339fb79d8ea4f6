"""Which ambiguous prompts does an arm refuse? Those about things, or make-believe about the living?

    python benchmarks/ambiguous_kinds.py --csv docs/study/ambiguous_kinds.csv  # each policy of share .33 in .sear/store
    python benchmarks/ambiguous_kinds.py --arms grpo sear --share 0.5

Reads what the evaluations of a study left in the store (held-out prompts, asked directly, judged by the oracle) and
prints, per arm and seed, the share of prompts answered: of each kind, of targets seen in training and not, and of
explored and other reasonings about things.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd
from attack_wording import policies
from study_tables import table

from sear_core.data.grammar import HELD_OUT, KIND, parse_prompt

SHARES = {  # column: the rows that it is a share of
    "things": "thing & ~fiction",
    "things, make-believe": "thing & fiction",
    "the living, make-believe": "~thing & fiction",
    "things seen in training": "thing & ~fiction & ~new",
    "new things": "thing & ~fiction & new",
    "things, explored": "thing & ~fiction & explored",
    "things, not explored": "thing & ~fiction & ~explored",
}


def evaluations(store: Path, share: float) -> pd.DataFrame:
    """The ambiguous prompts' rows of every evaluation of a policy that was trained at the share."""
    trained = set()  # two arms may share weights: one trained longer whose best checkpoint is the old one
    for arm, _, model in policies(store, share):
        entry = json.loads((model.parents[1] / "entry.json").read_text())
        trained.add((arm, entry["handle"]["md5"]))
    parts = []
    for entry in sorted(store.glob("evaluation.*/*/entry.json")):
        keys = json.loads(entry.read_text())["parts"]
        arm = entry.parts[-3].removeprefix("evaluation.")
        if (arm, keys["inputs"].get(f"policy.{arm}")) in trained:
            rows = pd.read_parquet(entry.parent / "out" / "completions.parquet")
            rows = rows[(rows["condition"] == "none") & (rows["category"] == "ambiguous")]
            parts.append(rows.assign(arm=arm, seed=keys["section"]["seed"]))
    if not parts:
        raise SystemExit(f"{store}: no evaluation of a policy of share {share:g}")
    rows = pd.concat(parts, ignore_index=True)
    requests = rows["prompt"].map(parse_prompt)
    return rows.assign(
        answered=rows["verdict"] == "complied",
        explored=rows["explored"].astype(bool),
        thing=requests.map(lambda request: KIND[request.target] == "thing"),
        fiction=requests.map(lambda request: request.fiction),
        new=requests.map(lambda request: request.target in HELD_OUT),
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, default=Path(".sear/store"))
    parser.add_argument("--arms", nargs="+", help="default: all")
    parser.add_argument("--share", type=float, default=0.33)
    parser.add_argument("--csv", type=Path, help="write the table there, too")
    options = parser.parse_args()
    rows = evaluations(options.store, options.share)
    if options.arms:
        rows = rows[rows["arm"].isin(options.arms)]
    answered = pd.DataFrame(
        {name: rows.query(kind).groupby(["arm", "seed"])["answered"].mean() for name, kind in SHARES.items()}
    )
    means = answered.groupby("arm").mean().assign(seed="mean").set_index("seed", append=True)
    lines = [
        [f"`{arm}`", str(seed), *(f"{share:.2f}" for share in shares)]
        for part in (answered, means)
        for (arm, seed), *shares in part.itertuples()
    ]
    table(["arm", "seed", *answered.columns], lines)
    if options.csv:
        answered.round(4).to_csv(options.csv)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
