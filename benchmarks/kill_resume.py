"""Kill `sear run` with SIGKILL at random moments, call it again, and compare with a run that was left alone.

    python benchmarks/kill_resume.py --kills 20 --per-run 4

Each trial is a checkout of its own: the command is killed up to `--per-run` times at moments drawn uniformly from the
time that the undisturbed run took, then left to finish, or finishes before the next kill. It must end with the same
outputs, metrics and curves, one MLflow run with one finished child per stage, one registered version, no process and no
half-written output. Prints one JSON object; exit code 1 where a trial differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))
OWN_TIMES = ("register", "report", "validate")  # their files hold times and run ids


def make_checkout(folder: Path) -> Path:
    """A git checkout with this repository's data.dvc: no data/, no store."""
    folder.mkdir(parents=True)
    for name in ("data.dvc", ".gitignore"):
        shutil.copy(REPOSITORY / name, folder)
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
        own = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
        subprocess.run(["git", "-C", str(folder), *own, *arguments], check=True)
    return folder


def messages(root: Path) -> Path:
    return root.with_name(f"{root.name}.log")  # beside the checkout, which stays clean


def start(root: Path, arguments: list[str], command: str = "run") -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "PREFECT_", "SEAR_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "flows", command, *arguments, "--json"], cwd=root, text=True,
        env=environment | {"PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE,
        stderr=messages(root).open("a"), start_new_session=True,
    )  # fmt: skip


def finished(root: Path, process: subprocess.Popen[str], out: str) -> dict[str, Any]:
    if process.returncode:
        raise SystemExit(f"sear ended with {process.returncode}: {messages(root).read_text()[-3000:]}")
    return json.loads(out)


def to_the_end(root: Path, arguments: list[str]) -> dict[str, Any]:
    process = start(root, arguments)
    out, _ = process.communicate()
    return finished(root, process, out)


def kill_at(root: Path, arguments: list[str], seconds: float) -> tuple[str, dict[str, Any] | None]:
    """The stage that was at work when the command was killed, or what it printed where it had finished by then."""
    process = start(root, arguments)
    try:
        out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    else:
        return "", finished(root, process, out)
    busy = sorted(path.parent.name for path in (root / ".sear" / "store").glob("*/*.partial"))
    return "+".join(busy) or "between stages", None


def left(root: Path, result: dict[str, Any]) -> dict[str, Any]:
    """What a finished run has left: output hashes, metrics, curves, and what must not be there."""
    from mlflow import MlflowClient
    from mlflow.entities import ViewType

    store, client = root / ".sear" / "store", MlflowClient(f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")
    entries = {path.parents[1].name: json.loads(path.read_text()) for path in store.glob("*/*/entry.json")}
    runs = client.search_runs(["1"], run_view_type=ViewType.ALL, max_results=1000)
    children = [run for run in runs if "sear.stage" in run.data.tags]
    # transformers logs the epoch again with every figure of a step: the same point twice is one point
    curves = {
        f"{run.data.tags['sear.stage']}/{name}": sorted(
            {(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)}
        )
        for run in children for name in run.data.metrics
    }  # fmt: skip
    deadline = time.monotonic() + 60  # a server takes a moment to end, on a busy machine longer
    while (processes := running_in(root)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return {
        "outputs": {name: e["handle"]["md5"] for name, e in entries.items() if name not in OWN_TIMES},
        "arms": result["arms"],
        "curves": curves,
        "runs": sorted((run.data.tags.get("sear.stage", "parent"), run.info.status) for run in runs),
        "versions": len(client.search_model_versions("name = 'sear'")),
        "half-written": sorted(str(path.relative_to(store)) for path in store.glob("*/*.partial")),
        "processes": processes,
    }


def ended(root: Path) -> bool:
    """Whether the killed run had been finished: then the next call repeats it, in a run of its own."""
    database = root / "mlruns" / "mlflow.db"
    if not database.exists():
        return False
    from mlflow import MlflowClient

    found = MlflowClient(f"sqlite:///{database}").search_runs(["1"], "attributes.status = 'FINISHED'")
    return any("sear.call" in run.data.tags for run in found)


def running_in(root: Path) -> list[int]:
    """Processes that a run of this checkout has started and that still live."""
    import psutil

    found = []
    for process in psutil.process_iter(["environ"]):
        environment = process.info["environ"] or {}
        if environment.get("PREFECT_HOME", "").startswith(str(root)):
            found.append(process.pid)
    return found


def trial(root: Path, arguments: list[str], moments: list[float], expected: dict[str, Any]) -> dict[str, Any]:
    """Kill one run at each of the moments, as long as it has not finished by then; compare how it ends."""
    killed = []
    for seconds in moments:
        began = time.perf_counter()
        stage, result = kill_at(root, arguments, seconds)
        if result is not None:
            break
        killed.append({"after": round(seconds, 1), "in": stage})
        if ended(root):
            killed[-1]["in"] = "behind the end of the run"
            expected = expected | {"runs": sorted([*expected["runs"], *expected["runs"]])}
            began = time.perf_counter()
            result = to_the_end(root, arguments)
            break
    else:
        began = time.perf_counter()
        result = to_the_end(root, arguments)
    took, found = time.perf_counter() - began, left(root, result)
    return {
        "killed": killed, "last_call_seconds": round(took, 1),
        "differs": sorted(name for name in expected if expected[name] != found[name]),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--per-run", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="keep the checkouts in this folder")
    parser.add_argument("arguments", nargs="*", default=["--preset", "smoke"], help="of `sear run`, after --")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="kill-resume-"))
    draw = random.Random(options.seed)  # noqa: S311
    began = time.perf_counter()
    root = make_checkout(folder / "whole")
    expected = left(root, to_the_end(root, options.arguments))
    seconds = time.perf_counter() - began
    print(f"undisturbed: {seconds:.0f} s, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    trials: list[dict[str, Any]] = []
    while (done := sum(len(t["killed"]) for t in trials)) < options.kills:
        moments = [draw.uniform(0, seconds) for _ in range(min(options.per_run, options.kills - done))]
        root = make_checkout(folder / f"trial-{len(trials)}")
        trials.append(trial(root, options.arguments, moments, expected))
        if not trials[-1]["killed"]:  # the machine is quicker now than it was at the beginning
            seconds = min(seconds, trials[-1]["last_call_seconds"])
        print(json.dumps(trials[-1]), file=sys.stderr, flush=True)
    wrong = [t for t in trials if t["differs"]]
    print(json.dumps({
        "undisturbed_seconds": round(seconds, 1), "kills": sum(len(t["killed"]) for t in trials),
        "trials": trials, "wrong": len(wrong),
    }, indent=1))  # fmt: skip
    if options.keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
