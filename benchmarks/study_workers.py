"""How much faster a study is on two workers than on one: the whole command, each from an empty checkout.

    python benchmarks/study_workers.py                       # 8 members: grpo and sear, seeds 0 to 3
    python benchmarks/study_workers.py --seeds 1 --updates 2 # a look at whether it works

Members are `demo` made shorter, long enough that training and evaluation rule, not starting up. A worker is a core
here: the one worker is held to one (its affinity), the two have two, as if a second machine were added; `sear study
--workers 1` by itself would give its one worker both cores, and `--all-cores` measures that, too. Needs two cores that
do nothing else. Prints one JSON object; exit code 1 where it is less than `--at-least` times faster.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from kill_resume import finished, make_checkout, start

CONFIG = """
extends = "demo"
[warm_start]
epochs = 1
[reward_model]
gate = false
[reward_model.harm]
epochs = 1
[reward_model.helpfulness]
epochs = 1
[policy]
updates = {updates}
save_every = {updates}
[evaluation]
limit = 60
"""


def measured(
    root: Path, workers: int, cores: set[int], seeds: int, updates: int
) -> tuple[float, dict[str, Any]]:
    """Seconds of the whole command on these cores, and what it printed."""
    make_checkout(root)
    config = root.with_name(f"{root.name}.toml")
    config.write_text(CONFIG.format(updates=updates))
    began = time.perf_counter()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # children inherit it
    try:
        process = start(root, ["--config", str(config), "--arms", "grpo,sear", "--seeds", str(seeds),
                               "--workers", str(workers)], "study")  # fmt: skip
    finally:
        os.sched_setaffinity(0, before)
    out, _ = process.communicate()
    seconds = time.perf_counter() - began
    return seconds, finished(root, process, out)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=4, help="of each of the two arms")
    parser.add_argument("--updates", type=int, default=24, help="of every policy")
    parser.add_argument("--at-least", type=float, default=1.6)
    parser.add_argument("--all-cores", action="store_true", help="also: one worker that has both cores")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        parser.error("two workers need two cores")
    runs = {"2": (2, set(cores[:2])), "1": (1, {cores[0]})}
    if options.all_cores:
        runs["1_all_cores"] = 1, set(cores[:2])
    folder = Path(tempfile.mkdtemp(prefix="study-workers-"))
    found: dict[str, Any] = {"members": 2 * options.seeds, "load_at_start": round(os.getloadavg()[0], 1)}
    results = {}
    for name, (workers, allowed) in runs.items():
        seconds, results[name] = measured(
            folder / f"workers-{name}", workers, allowed, options.seeds, options.updates
        )
        found[f"seconds_{name}"] = round(seconds, 1)
        print(f"{name}: {seconds:.0f} s", file=sys.stderr, flush=True)
    found["times_faster"] = round(found["seconds_1"] / found["seconds_2"], 3)
    # the last bits may depend on how many threads a sum was made by
    found["same_table"] = all(result["arms"] == results["2"]["arms"] for result in results.values())
    print(json.dumps(found, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    return 0 if found["times_faster"] >= options.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
