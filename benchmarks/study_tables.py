"""The tables of docs/results.md from a study's members, also of one that was run in parts.

    python benchmarks/study_tables.py docs/study/members.csv
    python benchmarks/study_tables.py PART1/study.json PART2/study.json --csv docs/study/members.csv --plots docs/study

A study.json is what `sear study` prints with --json, or its artifact; a CSV is what this script wrote. Members are
pooled by arm, seed and share; one that several parts have must be the same in all (exit code 1), for parts of one
commit, data and config are one study. Means over seeds with 95 % t intervals, differences paired by seed.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from sear_core.evaluation.seeds import Summary, paired_differences, summarise_seeds, with_derived
from tasks.study_plots import figures_of
from tasks.study_result import study_result

ATTACKS = ("harmful_prefill", "benign_hijack", "answer_prefill")
DIRECT = ("dsr", "compliance.harmless", "compliance.ambiguous", "exploration_rate.harmful", "flip_rate")
METRICS = (
    *DIRECT,
    *(f"{base}.{attack}" for attack in ATTACKS for base in ("dsr", "compliance.ambiguous")),
    *("correct.own", "correct.none", "correct.other", "malformed_rate", "reward_agreement", "overpaid_rate"),
)
HEADS = {
    "dsr": "DSR", "compliance.harmless": "harmless", "compliance.ambiguous": "ambiguous",
    "trade_off": "DSR + ambiguous", **{f"dsr.{attack}": attack.replace("_", " ") for attack in ATTACKS},
}  # fmt: skip
Key = tuple[str, int, float]  # arm, seed, share
Members = dict[Key, dict[str, float]]


def read(path: Path) -> Members:
    """Finished members, their metrics to four digits."""
    if path.suffix == ".json":
        rows = json.loads(path.read_text())["members"]
        rows = [row | row["metrics"] for row in rows if row["status"] == "finished"]
    else:
        rows = list(csv.DictReader(path.open()))
    return {
        (row["arm"], int(row["seed"]), float(row["share"])): {
            name: round(float(row[name]), 4) for name in METRICS if row.get(name) not in (None, "")
        }
        for row in rows
    }


def pooled(parts: Iterable[Members]) -> tuple[Members, list[Key]]:
    """All members, and those that are not the same in all parts that have them."""
    found: Members = {}
    unlike = []
    for part in parts:
        unlike += [key for key in part.keys() & found.keys() if part[key] != found[key]]
        found |= part
    return found, unlike


def write_csv(members: Members, path: Path) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["arm", "seed", "share", *METRICS])
        for (arm, seed, share), metrics in members.items():
            table.writerow([arm, seed, f"{share:g}", *(metrics.get(name, "") for name in METRICS)])


def said(estimate: Summary | None, sign: str = "", interval: bool = True) -> str:
    """`mean [low, high]`, `mean` of one seed, a dash of none."""
    if estimate is None:
        return "–"
    known = interval and estimate["low"] is not None
    ends = "" if not known else f" [{estimate['low']:{sign}.2f}, {estimate['high']:{sign}.2f}]"
    return f"{estimate['mean']:{sign}.2f}{ends}"


def table(head: list[str], rows: Iterable[list[str]]) -> None:
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print()


def show(members: Members, share: float, baselines: list[str]) -> None:
    """The tables of one share."""
    values: dict[str, dict[int, Mapping[str, float]]] = {}
    for (arm, seed, of), metrics in members.items():
        if of == share:
            values.setdefault(arm, {})[seed] = with_derived(metrics)
    arms = {arm: summarise_seeds(by_seed) for arm, by_seed in values.items()}
    print(f"## Share {share:g}\n")
    table(
        ["arm", "seeds", "DSR", "harmless", "ambiguous", "DSR + ambiguous (sd)", "explores / flips back", "collapsed"],
        ([f"`{arm}`", str(len(values[arm])), *(said(found.get(name)) for name in DIRECT[:3]), _sum(found),
          " / ".join(said(found.get(name), interval=False) for name in DIRECT[3:]),
          f"{sum(v['collapsed'] for v in values[arm].values()):g}"] for arm, found in arms.items()),
    )  # fmt: skip
    table(
        ["arm", *(f"DSR, {attack.replace('_', ' ')}" for attack in ATTACKS), "correct with own", "none", "other"],
        ([f"`{arm}`", *(said(found.get(f"dsr.{attack}")) for attack in ATTACKS),
          *(said(found.get(f"correct.{name}")) for name in ("own", "none", "other"))] for arm, found in arms.items()),
    )  # fmt: skip
    for baseline in (name for name in baselines if name in values):
        table(
            [f"− `{baseline}`, by seed", "seeds", *HEADS.values()],
            ([f"`{arm}`", str(len(values[arm].keys() & values[baseline].keys())),
              *(said(paired.get(name), "+") for name in HEADS)]
             for arm in values if arm != baseline
             for paired in [paired_differences(values[arm], values[baseline])]),
        )  # fmt: skip


def _sum(found: Mapping[str, Summary]) -> str:
    spread = found["trade_off"]["sd"]
    return said(found["trade_off"]) + ("" if spread is None else f" ({spread:.2f})")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", type=Path, nargs="+", help="study.json files, or members.csv")
    parser.add_argument("--csv", type=Path, help="write the pooled members there")
    parser.add_argument("--plots", type=Path, help="write the trade-off plots there")
    parser.add_argument("--baselines", default="grpo,sear", help="arms that differences are to")
    parser.add_argument("--seeds", type=int, nargs="+", help="tables of these alone; default: all")
    parser.add_argument("--seeds-of", help="a row per seed of this arm, too")
    options = parser.parse_args()
    members, unlike = pooled(read(path) for path in options.parts)
    for arm, seed, share in unlike:
        print(f"{arm}, seed {seed}, share {share:g}: not the same in all parts", file=sys.stderr)
    shares = list(dict.fromkeys(share for _, _, share in members))
    shown = {key: of for key, of in members.items() if options.seeds is None or key[1] in options.seeds}
    for share in shares:
        show(shown, share, options.baselines.split(","))
    if options.seeds_of:
        rows = {seed: metrics for (arm, seed, of), metrics in members.items()
                if (arm, of) == (options.seeds_of, shares[0])}  # fmt: skip
        names = [*DIRECT, *(f"dsr.{attack}" for attack in ATTACKS)]
        table(
            [f"`{options.seeds_of}`, seed", *map(str, rows)],
            ([name, *(f"{metrics.get(name, math.nan):.2f}" for metrics in rows.values())] for name in names),
        )
    if options.csv:
        write_csv(members, options.csv)
    if options.plots:
        entries = [
            {"name": f"{arm}, seed {seed}, {share:g}", "arm": arm, "seed": seed, "share": share, "status": "finished",
             "metrics": metrics}
            for (arm, seed, share), metrics in members.items()
        ]  # fmt: skip
        for name, svg in figures_of(study_result(entries, {}, "grpo", shares)).items():
            (options.plots / f"{name}.svg").write_text(svg)
    return 1 if unlike else 0


if __name__ == "__main__":
    raise SystemExit(main())
