"""The commands that look after models and runs once they exist; `flows/__main__.py` adds them to `sear`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from flows.command_line import ConfigFile, Json, Preset, Sets, load, standard_output_for, tracked_workspace

app = App()
Name = Annotated[str, Parameter(help="The registered model.")]
Reason = Annotated[str, Parameter(help="Why; written down with the move.")]


@app.command
def promote(
    version: str, /, *, force: Annotated[bool, Parameter(negative="", help="Overrule the gate.")] = False,
    reason: Reason = "", name: Name = "sear", as_json: Json = False,
) -> int:  # fmt: skip
    """Make a version the champion, where its gate passed against the present one.

    Parameters
    ----------
    version
        Its number in the registry (`sear history` lists them).
    """
    with standard_output_for(as_json) as emit:
        from flows import promotion

        result = promotion.promote(tracked_workspace(), version, name, force, reason)
        emit(result)
        if not as_json:
            print(result["text"])
    return 0


@app.command
def rollback(
    *, to: Annotated[str, Parameter(help="A version, instead of the champion before.")] = "",
    reason: Reason = "", name: Name = "sear", as_json: Json = False,
) -> int:  # fmt: skip
    """Point the champion alias back at the champion before."""
    with standard_output_for(as_json) as emit:
        from flows import promotion

        result = promotion.rollback(tracked_workspace(), name, reason, to)
        emit(result)
        if not as_json:
            print(result["text"])
    return 0


@app.command
def history(*, name: Name = "sear", as_json: Json = False) -> int:
    """List a model's versions with their gates, and every move of the champion alias."""
    with standard_output_for(as_json) as emit:
        from flows import promotion

        found = promotion.history(tracked_workspace(), name)
        emit(found)
        if not as_json:
            promotion.print_history(found)
    return 0


@app.command
def export(
    out: Path, /, *, version: Annotated[str, Parameter(help="A version's number; the champion without it.")] = "",
    name: Name = "sear",
) -> int:  # fmt: skip
    """Write a registered version as an ordinary Hugging Face directory with a model card.

    Parameters
    ----------
    out
        A folder that is not there yet.
    """
    from flows.export import export as export_model

    print(export_model(tracked_workspace(), out, version, name))
    return 0


@app.command
def clean(
    *, yes: Annotated[bool, Parameter(negative="", help="Remove it; without, it is only listed.")] = False,
    older_than: Annotated[float, Parameter(help="Days for which runs and their outputs are kept.")] = 30.0,
    as_json: Json = False,
) -> int:  # fmt: skip
    """List, or remove, old runs, outputs that no kept run used, leftovers; never what a registered version needs."""
    with standard_output_for(as_json) as emit:
        from flows import tidy

        found = tidy.clean(tracked_workspace(), older_than, yes)
        emit(found)
        if not as_json:
            tidy.print_clean(found)
    return 0


@app.command
def retrain(
    *, preset: Preset = None, config: ConfigFile = None, sets: Sets = None, as_json: Json = False
) -> int:
    """Retrain once, as `sear schedule` would: new data, the DAG, the gate; skipped where nothing has changed."""
    workspace, _ = load(preset, config, sets)
    with standard_output_for(as_json) as emit:
        from flows import temporary_server
        from flows.retrain import retrain as flow

        temporary_server.prepare()
        result = flow(preset, str(config) if config else None, sets, str(workspace.root))
        emit(result)
        if not as_json:
            from flows.render import print_summary

            print(f"skipped: {result['reason']}") if result["status"] == "skipped" else print_summary(result)
    return 0


@app.command
def schedule(
    *, preset: Preset = None, config: ConfigFile = None, sets: Sets = None,
    cron: Annotated[str | None, Parameter(help='When, such as "0 3 * * *".')] = None,
    every_minutes: Annotated[float | None, Parameter(help="How often new data and config are looked for.")] = None,
) -> int:  # fmt: skip
    """Serve the retraining on a schedule until interrupted; starts a Prefect server where none is configured."""
    workspace, _ = load(preset, config, sets)
    from flows.schedule import schedule as serve

    parameters = {"preset": preset, "config": str(config.absolute()) if config else None, "sets": sets}
    serve(workspace, cron, every_minutes, parameters)
    return 0


@app.command
def reproduce(
    run: str, /, *,
    data_root: Annotated[Path | None, Parameter(help="Where sources outside of data/ lie on this machine.")] = None,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Run a recorded run again from its commit, data, config and seed, with empty caches; exit 1 on any difference.

    Parameters
    ----------
    run
        A run id (six digits do) or name.
    """
    with standard_output_for(as_json) as emit:
        from flows import reproduction

        result = reproduction.reproduce(tracked_workspace(), run, data_root)
        emit(result)
        if not as_json:
            reproduction.print_reproduction(result)
    return 0 if result["identical"] else 1
