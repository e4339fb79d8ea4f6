"""How much faster a study is on two workers than on one: the whole command, each from an empty checkout.

    python benchmarks/study_workers.py                       # 8 members: grpo and sear, seeds 0 to 3
    python benchmarks/study_workers.py --seeds 1 --updates 2 # a look at whether it works

Members are `demo` made shorter, long enough that training and evaluation rule, not starting up. One worker has all
cores for itself, two share them: needs two cores that do nothing else. Prints one JSON object; exit code 1 where it is
less than `--at-least` times faster.
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


def measured(root: Path, workers: int, seeds: int, updates: int) -> tuple[float, dict[str, Any]]:
    """Seconds of the whole command, and what it printed."""
    make_checkout(root)
    config = root.with_name(f"{root.name}.toml")
    config.write_text(CONFIG.format(updates=updates))
    began = time.perf_counter()
    process = start(root, ["--config", str(config), "--arms", "grpo,sear", "--seeds", str(seeds),
                           "--workers", str(workers)], "study")  # fmt: skip
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
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="study-workers-"))
    found: dict[str, Any] = {"members": 2 * options.seeds, "load_at_start": round(os.getloadavg()[0], 1)}
    results = {}
    for workers in (2, 1):
        seconds, results[workers] = measured(
            folder / f"workers-{workers}", workers, options.seeds, options.updates
        )
        found[f"seconds_{workers}"] = round(seconds, 1)
        print(f"{workers} workers: {seconds:.0f} s", file=sys.stderr, flush=True)
    found["times_faster"] = round(found["seconds_1"] / found["seconds_2"], 3)
    # the last bits may depend on how many threads a sum was made by
    found["same_table"] = results[1]["arms"] == results[2]["arms"]
    print(json.dumps(found, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    return 0 if found["times_faster"] >= options.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
