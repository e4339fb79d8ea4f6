"""What a resumed run costs beyond a fresh start's own start-up and the lost steps' work.

    python benchmarks/resume_overhead.py --trials 3

A run of `smoke` with a longer policy stage is left alone; then, each time in a checkout of its own that has the same
finished stages, the run is killed (SIGKILL) in the middle of the policy, some updates after a checkpoint, and the same
command is called again. From the times of MLflow's points, in seconds:

    start-up   a call, on a checkout that has run before, until its first stage begins
    set-up     the policy's stage, in the run left alone, until its first update is done
    lost       updates done after the checkpoint and again after the kill, at the speed that they had at first
    overhead   the second call until the first update that the first call had not done, less all three

It holds all that resuming adds: verifying the finished stages, importing torch with nothing to overlap with, loading
the checkpoint. The weights must be those of the run left alone. Prints one JSON object; exit code 1 where the median
is above `--allowed` or weights differ.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from kill_resume import finished, make_checkout, messages, start

UPDATES, SAVE_EVERY, LOST = 40, 16, 6
CALL = ["--preset", "smoke", "--set", 'arms=["sear"]',
        "--set", f"policy.updates={UPDATES}", "--set", f"policy.save_every={SAVE_EVERY}"]  # fmt: skip
KEPT = ("prepare", "validate", "warm_start", "reward_model")


def call(root: Path, until: str = "policy.sear") -> tuple[float, subprocess.Popen[str]]:
    return time.time(), start(root, [*CALL, "--until", until])


def to_the_end(root: Path, until: str = "policy.sear") -> float:
    """Run a call; when it began."""
    began, process = call(root, until)
    out, _ = process.communicate()
    finished(root, process, out)
    return began


def runs(root: Path, stage: str) -> list[Any]:
    """The child runs of a stage, the newest first."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")
    return list(
        client.search_runs(["1"], f"tags.`sear.stage` = '{stage}'", order_by=["attributes.start_time DESC"])
    )


def done_at(root: Path) -> dict[int, float]:
    """{update: when it was done}, in seconds since the epoch."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")
    (run,) = runs(root, "policy.sear")
    return {
        point.step: point.timestamp / 1000 for point in client.get_metric_history(run.info.run_id, "loss")
    }


def weights(root: Path) -> str:
    (entry,) = (root / ".sear" / "store" / "policy.sear").glob("*/entry.json")
    return str(json.loads(entry.read_text())["handle"]["md5"])


def killed(root: Path) -> int:
    """Call, and kill once LOST updates are done after the first checkpoint; how many were done."""
    _, process = call(root)
    folder, wanted = root / ".sear" / "store" / "policy.sear", SAVE_EVERY + LOST
    while True:
        if process.poll() is not None:
            raise SystemExit(f"it ended before it was killed: {messages(root).read_text()[-2000:]}")
        if list(folder.glob("*.partial/out/checkpoints/*/manifest.json")):
            points = done_at(root)
            if len(points) >= wanted:
                break
        time.sleep(0.05)
    process.kill()
    process.communicate()
    return max(done_at(root))


def trial(
    whole: Path, root: Path, startup: float, setup: float, each: float, expected: str
) -> dict[str, Any]:
    make_checkout(root)
    shutil.copytree(whole / "data", root / "data")
    for stage in KEPT:
        shutil.copytree(whole / ".sear" / "store" / stage, root / ".sear" / "store" / stage)
    done = killed(root)
    lost = done - done // SAVE_EVERY * SAVE_EVERY
    began = to_the_end(root)
    until = done_at(root)[done + 1] - began
    return {
        "killed_after_update": done, "lost_updates": lost, "second_call_until_new_update": round(until, 2),
        "overhead": round(until - startup - setup - lost * each, 2), "same_weights": weights(root) == expected,
        "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--allowed", type=float, default=10.0, help="seconds of overhead, the median")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="resume-overhead-"))
    whole = make_checkout(folder / "whole")
    to_the_end(whole)
    points, (policy,) = done_at(whole), runs(whole, "policy.sear")
    setup = points[1] - policy.info.start_time / 1000
    each = (points[UPDATES] - points[1]) / (UPDATES - 1)
    began = to_the_end(whole, "version")
    startup = runs(whole, "version")[0].info.start_time / 1000 - began
    print(f"start-up {startup:.1f} s, set-up {setup:.1f} s, an update {each:.2f} s", file=sys.stderr)
    trials = []
    for number in range(options.trials):
        trials.append(trial(whole, folder / f"trial-{number}", startup, setup, each, weights(whole)))
        print(json.dumps(trials[-1]), file=sys.stderr, flush=True)
    median = statistics.median(t["overhead"] for t in trials)
    print(json.dumps({
        "start_up": round(startup, 2), "set_up_and_first_update": round(setup, 2), "update": round(each, 3),
        "overhead_median": median, "trials": trials,
    }, indent=1))  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    return 0 if median <= options.allowed and all(t["same_weights"] for t in trials) else 1


if __name__ == "__main__":
    sys.exit(main())
