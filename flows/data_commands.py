"""`sear data …`: check, add, share and compare data. Everything heavy is imported inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from flows.command_line import ConfigFile, Json, Preset, Sets, find_workspace, load, standard_output_for

if TYPE_CHECKING:
    from tasks.config import SourceConfig
    from tasks.expectations import ValidationResult
    from tasks.workspace import Workspace

app = App(name="data", help="Check, add, share and compare data.")

Role = Annotated[
    str | None,
    Parameter(
        name="--as",
        help="What it is for: rl_prompts, warm_start, step_labels, answer_labels, preferences, evaluation.",
    ),
]
Columns = Annotated[
    list[str] | None,
    Parameter(
        name="--column", negative="", help="TABLE_COLUMN=FILE_COLUMN, where the guess is wrong; repeatable."
    ),
]
Constants = Annotated[
    list[str] | None,
    Parameter(name="--constant", negative="", help="TABLE_COLUMN=VALUE for every row; repeatable."),
]
Category = Annotated[str | None, Parameter(help="Category of every row: harmful, harmless or ambiguous.")]
Offline = Annotated[bool, Parameter(negative="", help="Do not ask the remote.")]
Remote = Annotated[str | None, Parameter(help="A DVC remote; without it the default one.")]


@app.command
def check(
    file: Path | None = None, /, *,
    role: Role = None, columns: Columns = None, constants: Constants = None, category: Category = None,
    preset: Preset = None, config: ConfigFile = None, sets: Sets = None, as_json: Json = False,
) -> int:  # fmt: skip
    """Validate data without a run: what a config prepares, or one FILE. Exit code 1: a critical check failed.

    Parameters
    ----------
    file
        A table (.csv, .tsv, .json, .jsonl, .parquet, each also .gz), checked as it is, before preparation would
        take rows out.
    """
    workspace, settings = load(preset, config, sets)
    with standard_output_for(as_json) as emit:
        from flows.data_render import print_guess, print_result
        from tasks.data_check import check_config, check_table, docs_folder

        docs, source = docs_folder(workspace), None
        if file is None:
            result = check_config(workspace, settings.data, settings.validation, _seed(settings), docs)
        else:
            source, about = _source(file, role, columns, constants, category)
            if not as_json:
                print_guess(source, about)
            result = check_table(workspace, file, source, settings.data, settings.validation, docs)
        emit({"schema_version": 1, **_outcome(result, docs), "source": source and _entry(source)})
        if not as_json:
            print_result(result, docs)
    return 0 if result.success else 1


@app.command
def add(
    file: Path, /, *, role: Role, name: str | None = None, columns: Columns = None, constants: Constants = None,
    category: Category = None, licence: str = "unknown",
    split: Annotated[str | None, Parameter(help="train, validation or test for every row; else by content.")] = None,
    preset: Preset = None, config: ConfigFile = None,
    write: Annotated[Path | None, Parameter(help="The config file to write; else PRESET-NAME.toml here.")] = None,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Bring a table of your own: columns guessed and shown, checked with the rest, copied, recorded; or nothing.

    The file goes to data/own/, data.dvc names the new version, and a config file that extends the preset has
    the source (with --config, that file gets it). Exit code 1: a critical check failed, and nothing has changed.

    Parameters
    ----------
    file
        A table: .csv, .tsv, .json, .jsonl, .parquet, each also .gz.
    name
        Name of the source; else the file's.
    licence
        What its rows may be used under; it stands in the data card.
    """
    from sear_core.errors import InputError

    workspace, settings = load(preset, config, None)
    with standard_output_for(as_json) as emit:
        from flows.data_render import print_added, print_guess
        from tasks.data_add import add_table, place
        from tasks.data_check import docs_folder

        source, about = _source(file, role, columns, constants, category, name, licence, split)
        source = source.model_copy(update={"path": place(source.name, file)})
        if any(item.name == source.name for item in settings.data.sources):
            raise InputError(
                f"--name {source.name!r}: the config has a source of that name; expected another"
            )
        target = write or config or Path(f"{preset or 'demo'}-{source.name}.toml")
        if target.exists() and target != config:
            raise InputError(
                f"{target}: already there; expected another --write, or --config to go on with it"
            )
        if not target.absolute().parent.is_dir():
            raise InputError(f"{target.parent}: no such directory")
        if not as_json:
            print_guess(source, about)
        docs = docs_folder(workspace)
        result, outcome = add_table(
            workspace,
            file,
            source,
            settings.data,
            settings.validation,
            _seed(settings),
            target,
            config,
            preset or "demo",
            docs,
        )
        emit({
            "schema_version": 1, **_outcome(result, docs), **outcome, "source": _entry(source),
            "config": str(target) if outcome["added"] else None,
        })  # fmt: skip
        if not as_json:
            print_added(result, outcome, source, target, docs)
    return 0 if result.success else 1


@app.command
def status(*, remote: Remote = None, offline: Offline = False, as_json: Json = False) -> int:
    """Show which data version data.dvc names, and how data/, DVC's cache and the remote stand to it."""
    with standard_output_for(as_json) as emit:
        from flows.data_render import print_status
        from tasks.data_sharing import status as status_of

        state = status_of(_project().root, remote, ask_remote=not offline)
        emit(state)
        if not as_json:
            print_status(state)
    return 0


@app.command
def push(*, remote: Remote = None, as_json: Json = False) -> int:
    """Send the version that data.dvc names to a DVC remote."""
    with standard_output_for(as_json) as emit:
        from flows.data_render import say
        from tasks.data_sharing import push as push_to

        done = push_to(_project().root, remote)
        emit(done)
        if not as_json:
            say(f"{done['files']} files of version {done['version']} are on the remote {done['remote']!r}")
    return 0


@app.command
def pull(
    *, remote: Remote = None,
    force: Annotated[bool, Parameter(negative="", help="Give up files that data.dvc does not know.")] = False,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Bring data/ to the version that data.dvc names: from DVC's cache, a remote, or rebuilt where it can be."""
    with standard_output_for(as_json) as emit:
        from flows.data_render import say
        from tasks.data_sharing import pull as pull_from

        done = pull_from(_project().root, remote, force)
        emit(done)
        if not as_json:
            say(f"data/ is at version {done['version']}" + ("" if done["changed"] else ", as it was"))
    return 0


@app.command
def diff(before: str, after: str = "workspace", /, *, as_json: Json = False) -> int:
    """Count the rows added, removed and changed per table between two data versions.

    Parameters
    ----------
    before
        A git revision, a .dvc file, a hash of DVC's (its first characters do), or `workspace`: data/ as it is.
    after
        The same; `workspace` where it is not given.
    """
    with standard_output_for(as_json) as emit:
        from flows.data_render import print_diff
        from tasks.data_diff import diff as compare

        found = compare(_project().root, before, after)
        emit(found)
        if not as_json:
            print_diff(found)
    return 0


def _project() -> Workspace:
    """The project of the working directory; where another one is meant, that is said."""
    from flows.data_render import say

    workspace = find_workspace()
    if not Path.cwd().resolve().is_relative_to(workspace.root):
        say(f"no data.dvc in {Path.cwd()} or above it: this is about {workspace.root}")
    return workspace


def _seed(settings: Any) -> int:
    return settings.seed if settings.data.seed is None else settings.data.seed


def _source(
    file: Path, role: str | None, columns: list[str] | None, constants: list[str] | None, category: str | None,
    name: str | None = None, licence: str = "unknown", split: str | None = None,
) -> tuple[SourceConfig, dict[str, dict[str, Any]]]:  # fmt: skip
    """The config entry that a call means."""
    from sear_core.data.guessing import guess_role
    from sear_core.errors import InputError
    from tasks.data_check import propose

    if not file.is_file():
        raise InputError(f"{file}: {'not a file' if file.exists() else 'no such file'}")
    if category not in (None, "harmful", "harmless", "ambiguous"):
        raise InputError(f"--category {category!r}: expected harmful, harmless or ambiguous")
    fixed: dict[str, Any] = dict(_pairs("--constant", constants)) | (
        {"category": category} if category else {}
    )
    return propose(
        file, role or guess_role(file), name=name or file.name.split(".")[0], licence=licence,
        columns=dict(_pairs("--column", columns)), constants=fixed, split=split or "",
    )  # fmt: skip


def _pairs(option: str, given: list[str] | None) -> list[tuple[str, str]]:
    from sear_core.errors import InputError

    pairs = []
    for text in given or []:
        name, separator, value = text.partition("=")
        if not separator or not name.strip():
            raise InputError(f"{option} {text!r}: expected NAME=VALUE")
        pairs.append((name.strip(), value))
    return pairs


def _entry(source: SourceConfig) -> dict[str, Any]:
    return source.model_dump(mode="json", exclude_defaults=True)


def _outcome(result: ValidationResult, docs: Path) -> dict[str, Any]:
    return {
        "success": result.success, "checked": result.checked, "docs": str(docs / "index.html"),
        "failures": [failure.__dict__ for failure in result.failures],
    }  # fmt: skip
