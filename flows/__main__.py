"""The `sear` command. Parses first; everything heavy is imported inside the commands, so `--help` is quick."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter

if TYPE_CHECKING:
    from flows.config import PipelineConfig
    from tasks.workspace import Workspace

app = App(
    name="sear",
    help="Train language models with SEAR: competing rewards on one chain of thought, so that a model refuses "
    "less without becoming less safe. `sear run` does everything; `sear plan` says what it would do.",
    version_flags=["--version"],
)

Preset = Annotated[str | None, Parameter(help="A named config: demo (default), smoke, public, qwen2.5-1.5b.")]
ConfigFile = Annotated[
    Path | None, Parameter(name="--config", help="A TOML config file instead of a preset.")
]
Sets = Annotated[
    list[str] | None,
    Parameter(name="--set", negative="", help="Change one key, such as --set policy.updates=50; repeatable."),
]
Start = Annotated[
    str | None, Parameter(name="--from", help="Compute this stage and all that hangs on it anew.")
]
Until = Annotated[str | None, Parameter(help="Stop after this stage.")]
Fresh = Annotated[bool, Parameter(negative="", help="Use nothing from the store.")]
Json = Annotated[
    bool,
    Parameter(name="--json", negative="", help="One JSON object on standard output, nothing else there."),
]


@app.command
def run(
    *, preset: Preset = None, config: ConfigFile = None, sets: Sets = None, start: Start = None,
    until: Until = None, fresh: Fresh = False, as_json: Json = False,
) -> int:  # fmt: skip
    """Run the whole pipeline: data, validation, warm start, reward models, policies, evaluation, report, register."""
    workspace, settings = _load(preset, config, sets)
    with _standard_output_for(as_json) as emit:
        from flows.run import run as run_pipeline

        result = run_pipeline(settings, workspace, start, until, fresh)
        emit(result)
        if not as_json:
            from flows.render import print_summary

            print_summary(result)
    return 0


@app.command
def plan(
    *, preset: Preset = None, config: ConfigFile = None, sets: Sets = None, start: Start = None,
    until: Until = None, fresh: Fresh = False, as_json: Json = False,
) -> int:  # fmt: skip
    """Say which stages would run and why; run nothing."""
    workspace, settings = _load(preset, config, sets)
    with _standard_output_for(as_json) as emit:
        from flows.plan import plan as make_plan

        result = make_plan(settings, workspace, start, until, fresh)
        emit(result)
        if not as_json:
            from flows.render import print_plan

            print_plan(result)
    return 0


@app.command
def compare(runs: list[str], /, *, as_json: Json = False) -> int:
    """Compare runs: metrics side by side with intervals and differences to the first.

    Parameters
    ----------
    runs
        Run ids (six digits do) or names, as MLflow shows them.
    """
    with _standard_output_for(as_json) as emit:
        workspace = _workspace()
        from flows.compare import compare as compare_runs
        from flows.compare import print_comparison

        comparison = compare_runs(runs, workspace)
        emit(comparison.as_json())
        if not as_json:
            print_comparison(comparison)
    return 0


@app.command
def report(run: str, /) -> int:
    """Rebuild a run's HTML report and print its path.

    Parameters
    ----------
    run
        A run id (six digits do) or name.
    """
    workspace = _workspace()
    from flows.report_command import rebuild

    print(rebuild(run, workspace))
    return 0


@app.command
def ask(
    question: str, /, *,
    show_reasoning: Annotated[bool, Parameter(negative="", help="Print the reasoning too; it may be harmful.")] = False,
) -> int:  # fmt: skip
    """Ask the champion; prints the answer alone.

    Parameters
    ----------
    question
        One prompt, in quotes.
    """
    workspace = _workspace()
    from flows.ask import ask as ask_champion

    print(ask_champion(question, workspace, show_reasoning=show_reasoning))
    return 0


@app.command
def doctor(*, as_json: Json = False) -> int:
    """Show what this machine has, what is wrong, and how to mend it."""
    with _standard_output_for(as_json) as emit:
        from flows.doctor import as_dict, check_all, print_checks

        checks = check_all(_workspace())
        emit(as_dict(checks))
        if not as_json:
            print_checks(checks)
    return 1 if any(check.status == "fail" for check in checks) else 0


def _workspace() -> Workspace:
    from flows.environment import prepare
    from tasks.workspace import Workspace

    workspace = Workspace.find()
    prepare(workspace)
    return workspace


def _load(preset: str | None, file: Path | None, sets: list[str] | None) -> tuple[Workspace, PipelineConfig]:
    from flows.config import load_config
    from flows.environment import prepare
    from sear_core.model_directory import check_model_directory
    from tasks.workspace import Workspace

    settings = load_config(preset, file, sets)
    workspace = Workspace.find()
    models = (settings.warm_start.model.path, settings.reward_model.model.path)
    for path in models:
        if path is not None:
            check_model_directory(path)
    prepare(workspace, offline=all(path is None or Path(path).exists() for path in models))
    return workspace, settings


@contextmanager
def _standard_output_for(as_json: bool) -> Iterator[Callable[[Any], None]]:
    """With `--json`, whatever libraries print goes to standard error; only `emit` reaches standard output."""
    if not as_json:
        yield lambda value: None
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)

    def emit(value: Any) -> None:
        sys.stdout.flush()
        os.write(kept, (json.dumps(value, indent=1) + "\n").encode())

    try:
        yield emit
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def main(arguments: list[str] | None = None) -> None:
    """Exit codes: 0 done; 1 a stage or a gate failed; 2 the call, config or input is wrong."""
    from sear_core.errors import InputError

    try:
        code = app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        code = 2
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted; the same command continues where it was", file=sys.stderr)
        code = 130
    except OSError as error:
        import errno

        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        print(f"error: {error.filename or 'disk'}: {error.strerror}", file=sys.stderr)
        code = 2 if error.errno in (errno.EACCES, errno.EROFS) else 1
    except Exception as error:
        code = _failed(error)
    sys.exit(code if isinstance(code, int) else 0)


def _failed(error: Exception) -> int:
    """A failed stage or gate in one paragraph; anything else with its traceback, for it is our fault."""
    import traceback

    from flows.services import public

    if type(error).__name__ != "StageFailed":
        print(public("".join(traceback.format_exception(error))), file=sys.stderr, end="")
    print(f"failed: {public(str(error))}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
