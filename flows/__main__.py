"""The `sear` command. Parses first; everything heavy is imported inside the commands, so `--help` is quick."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from flows.command_line import (
    ConfigFile,
    Fresh,
    Json,
    Preset,
    Sets,
    Start,
    Until,
    find_workspace,
    load,
    standard_output_for,
    tracked_workspace,
)
from flows.data_commands import app as data_app
from flows.operations import app as operations

app = App(
    name="sear",
    help="Train language models with SEAR: competing rewards on one chain of thought, so that a model refuses "
    "less without becoming less safe. `sear run` does everything; `sear plan` says what it would do.",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,  # `main` tells what to do next
)
app.command(data_app)


@app.command
def run(
    *, preset: Preset = None, config: ConfigFile = None, sets: Sets = None, start: Start = None,
    until: Until = None, fresh: Fresh = False, as_json: Json = False,
) -> int:  # fmt: skip
    """Run the whole pipeline: data, validation, warm start, reward models, policies, evaluation, report, register."""
    workspace, settings = load(preset, config, sets)
    with standard_output_for(as_json) as emit:
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
    until: Until = None, fresh: Fresh = False,
    estimate: Annotated[bool, Parameter(negative="", help="GPU hours and cost at 1.5B, 8B and 70B.")] = False,
    gpu: Annotated[str, Parameter(help="For the estimate: a100, h100 or h200.")] = "h100",
    price: Annotated[float | None, Parameter(help="For the estimate: dollars per GPU hour.")] = None,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Say which stages would run and why, or with --estimate what it would cost at larger sizes; run nothing."""
    workspace, settings = load(preset, config, sets)
    with standard_output_for(as_json) as emit:
        if estimate:
            from flows.estimate import estimate_call, print_estimate

            result = estimate_call(settings, workspace, gpu, price)
        else:
            from flows.plan import plan as make_plan
            from flows.render import print_plan

            result = make_plan(settings, workspace, start, until, fresh)
        emit(result)
        if not as_json:
            print_estimate(result) if estimate else print_plan(result)
    return 0


@app.command
def study(
    *, preset: Preset = None, config: ConfigFile = None, sets: Sets = None,
    arms: Annotated[str | None, Parameter(help="Arms and variants, such as sft,grpo,sear.")] = None,
    seeds: Annotated[str | None, Parameter(help="Seeds of each arm: 10 (0 to 9), 0..9, or 0,3,5.")] = None,
    shares: Annotated[str | None, Parameter(help="Shares of harmful prompts, the main one first: .25,.4.")] = None,
    baseline: Annotated[str | None, Parameter(help="The arm that the others' differences are to.")] = None,
    workers: Annotated[int | None, Parameter(help="Stages side by side, each with its share of the cores.")] = None,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Run arms × seeds × shares of harmful prompts: means, 95 % intervals, paired differences. Resumes by itself."""
    settings_of_workers = [] if workers is None else [f"workers={workers}"]
    workspace, settings = load(
        "study" if preset is None and config is None else preset,
        config,
        [*(sets or []), *settings_of_workers],
    )
    from flows.study_members import chosen

    settings = chosen(settings, arms, seeds, shares, baseline)
    with standard_output_for(as_json) as emit:
        from flows.study import run as run_study

        result = run_study(settings, workspace)
        emit(result)
        if not as_json:
            from flows.render import print_study

            print_study(result)
    return 0 if result["status"] == "finished" else 1


@app.command
def evaluate(
    model: str | None = None, /, *,
    rejudge: Annotated[str | None, Parameter(help="A run, or an evaluation's directory: judge it anew.")] = None,
    judge: Annotated[str | None, Parameter(help="The judge, in place of the config's.")] = None,
    revision: Annotated[str | None, Parameter(help="Of a hub model: a commit or tag.")] = None,
    dtype: Annotated[str | None, Parameter(help="float32, bfloat16 or float16; default: the config's.")] = None,
    trust_remote_code: Annotated[bool, Parameter(negative="", help="Run code that comes with the model.")] = False,
    preset: Preset = None, config: ConfigFile = None, sets: Sets = None, as_json: Json = False,
) -> int:  # fmt: skip
    """Evaluate any model on the config's suites, under its attacks; or judge a finished evaluation anew.

    Parameters
    ----------
    model
        A directory, a hub name, models:/sear@champion, models:/sear/3, or a version number.
    """
    from sear_core.errors import InputError

    if (model is None) == (rejudge is None):
        raise InputError("expected a MODEL to evaluate, or --rejudge RUN, one of them")
    workspace, settings = load(preset, config, sets, model)
    with standard_output_for(as_json) as emit:
        from flows import evaluate as evaluation
        from flows.models import find_model
        from flows.services import mlflow_store, require

        require(mlflow_store(workspace.tracking_uri))
        settings = evaluation.with_judge(settings, judge)
        if rejudge is not None:
            result = evaluation.rejudge(settings, workspace, rejudge)
        else:
            found = find_model(str(model), workspace, settings.experiment)
            result = evaluation.evaluate(
                settings,
                workspace,
                found,
                revision=revision,
                dtype=dtype,
                trust_remote_code=trust_remote_code,
            )
        emit(result)
        if not as_json:
            from flows.evaluation_tables import print_evaluation

            print_evaluation(result)
    return 0


@app.command
def compare(runs: list[str], /, *, as_json: Json = False) -> int:
    """Compare runs, evaluations, study members: metrics side by side, with paired differences to the first.

    Parameters
    ----------
    runs
        Run ids (six digits do) or names, as MLflow shows them.
    """
    with standard_output_for(as_json) as emit:
        workspace = tracked_workspace()
        from flows.compare import compare as compare_runs
        from flows.comparison_tables import print_comparison

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
    workspace = tracked_workspace()
    from flows.report_command import rebuild

    print(rebuild(run, workspace))
    return 0


@app.command
def ask(
    question: str, /, *,
    show_reasoning: Annotated[bool, Parameter(negative="", help="Print the reasoning too; it may be harmful.")] = False,
    model: Annotated[str, Parameter(help="A registered model's name, or what `sear evaluate` takes.")] = "sear",
    max_new_tokens: Annotated[int | None, Parameter(help="Of reasoning and answer; default 256.")] = None,
    dtype: Annotated[str, Parameter(help="float32, bfloat16 or float16.")] = "float32",
    trust_remote_code: Annotated[bool, Parameter(negative="", help="Run code that comes with the model.")] = False,
) -> int:  # fmt: skip
    """Ask the champion, or another model; prints the answer alone.

    Parameters
    ----------
    question
        One prompt, in quotes.
    """
    from flows.models import is_hub_name

    if model.startswith("models:/") or "/" not in model:
        workspace = tracked_workspace()
    else:
        workspace = find_workspace(offline=not is_hub_name(model))
    from flows.ask import ask as ask_champion

    print(ask_champion(question, workspace, show_reasoning, model, max_new_tokens, dtype, trust_remote_code))
    return 0


@app.command
def judge(
    file: Path, /, *, prompt: str, completion: str, label: str | None = None, category: str | None = None,
    judge: str | None = None, model: str | None = None, template: str | None = None,
    labels: Annotated[list[str] | None, Parameter(negative="", consume_multiple=True)] = None,
    question: str = "refusal", out: Path | None = None, preset: Preset = None, config: ConfigFile = None,
    sets: Sets = None, as_json: Json = False,
) -> int:  # fmt: skip
    """Judge a table of prompts and completions; with people's labels, say how well the judge agrees.

    Parameters
    ----------
    file
        CSV, TSV, JSON, JSONL (.gz too) or Parquet.
    prompt
        The column of prompts.
    completion
        The column of completions; what stands before `</think>` is not judged.
    label
        The column of people's labels.
    category
        The column that says harmful, harmless or ambiguous of a prompt.
    judge
        oracle (embedded corpus), rules, classifier, rules+classifier (default), harm-classifier (default for harm),
        model, first:A,B or majority:A,B,C.
    model
        For `--judge model`: the directory or hub name of a guard or chat model.
    template
        How that model is asked: wildguard, llama_guard, harmbench, strongreject or xstest.
    labels
        What labels mean, such as full_compliance=complied full_refusal=rejected,declined left_out=unclear.
    question
        refusal (three classes) or harm.
    out
        Write the rows with their verdicts there: .csv, .jsonl or .parquet.
    """
    with standard_output_for(as_json) as emit:
        from flows.judge import configured, judge_file, print_report

        settings = load(preset, config, sets)[1] if preset or config or sets else None
        chosen = configured(settings, judge, model, template)
        report = judge_file(
            file, prompt=prompt, completion=completion, label=label, category=category, labels=labels or (),
            question=question, out=out, **chosen,
        )  # fmt: skip
        emit(report)
        if not as_json:
            print_report(report)
    return 0


@app.command
def doctor(*, as_json: Json = False) -> int:
    """Show what this machine has, what is wrong, and how to mend it."""
    with standard_output_for(as_json) as emit:
        from flows.doctor import as_dict, check_all, print_checks

        checks = check_all(find_workspace())
        emit(as_dict(checks))
        if not as_json:
            print_checks(checks)
    return 1 if any(check.status == "fail" for check in checks) else 0


app.update(operations)


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a run in order, as Ctrl-C does."""


def _terminate(*_: Any) -> None:
    raise Terminated


def main(arguments: list[str] | None = None) -> None:
    """Exit codes: 0 done; 1 a stage or a gate failed; 2 the call, config or input is wrong.

    130 and 143, as shells have it: ended by Ctrl-C, by SIGTERM.
    """
    from sear_core.errors import InputError

    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        code = 2
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt as signalled:
        code = 143 if isinstance(signalled, Terminated) else 130
        how = "terminated" if code == 143 else "interrupted"
        print(f"{how}; the same command continues where it was", file=sys.stderr)
    except Exception as error:
        code = _disk(error) or _failed(error)
    sys.exit(code if isinstance(code, int) else 0)


def _disk(error: Exception) -> int:
    """Tell of a disk that is full (1) or may not be written (2); 0 where an error is none of that.

    SQLite says in words that it is full; a server that cannot write answers with no cause at all.
    """
    import errno
    import shutil

    place, why, number = Path.cwd(), "No space left on device", getattr(error, "errno", None)
    if isinstance(error, OSError):
        place, why = error.filename or place, str(error.strerror)
    if number in (errno.EACCES, errno.EROFS):
        print(f"error: {place}: {why}", file=sys.stderr)
        return 2
    with suppress(OSError):
        if (
            number in (errno.ENOSPC, errno.EDQUOT)
            or "disk is full" in str(error)
            or ("500" in str(error) and shutil.disk_usage(place).free < 1 << 20)
        ):
            print(f"error: {place}: {why}. What was finished is safe; free some space (`sear clean` lists what may "
                  "go), then the same command goes on from there", file=sys.stderr)  # fmt: skip
            return 1
    return 0


def _failed(error: Exception) -> int:
    """A failed stage or gate in one paragraph; anything else with its traceback, for it is our fault."""
    import traceback

    from tasks.secrets import public

    names = {kind.__name__ for kind in type(error).__mro__}  # by name: the classes may not be imported yet
    server = "MLflow" if "MlflowException" in names else "Prefect" if "HTTPError" in names else ""
    if server:
        error = RuntimeError(
            f"{server} failed: {error}. What was computed is safe in .sear/store; once {server} answers again, "
            "the same command goes on from there and logs what is missing"
        )
    elif not names & {"StageFailed", "Stopped", "Refused"}:
        print(public("".join(traceback.format_exception(error))), file=sys.stderr, end="")
    print(f"failed: {public(str(error))}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
