"""What `sear data …` shows people, on standard error; never a text of the data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.render import console, table
from sear_core.data.dedup import printable

if TYPE_CHECKING:
    from tasks.config import SourceConfig
    from tasks.expectations import ValidationResult


def say(text: str) -> None:
    """A line; whatever a file's name or a remote's answer holds, a terminal is not to obey it."""
    print(printable(text), file=sys.stderr)


def print_guess(source: SourceConfig, about: dict[str, dict[str, Any]]) -> None:
    from rich.markup import escape

    out = console()
    rows = table(out, f"{source.name}: read as {source.role}")
    for heading in ("table column", "from", "holds"):
        rows.add_column(heading)
    for column, name in source.columns.items():
        seen = about.get(name)
        holds = (
            f"{'/'.join(seen['kinds'])}, {seen['filled']} filled, {seen['distinct']} different"
            if seen
            else ""
        )
        rows.add_row(column, escape(f"column {name!r}"), holds)
        if column in source.values:
            translated = ", ".join(f"{k!r} → {v!r}" for k, v in source.values[column].items())
            rows.add_row("", "", escape(translated))
    for column, value in source.constants.items():
        rows.add_row(column, "every row", escape(repr(value)))
    out.print(rows)


def print_result(result: ValidationResult, docs: Path) -> None:
    for failure in result.failures:
        say(f"{failure.severity}: {failure}")
    checked = f"{sum(result.checked.values())} checks of {len(result.checked)} tables"
    say(
        f"{checked}: {len(result.critical)} critical failures, {len(result.warnings)} warnings. {docs / 'index.html'}"
    )


def print_added(
    result: ValidationResult, outcome: dict[str, Any], source: SourceConfig, target: Path, docs: Path
) -> None:  # fmt: skip
    print_result(result, docs)
    for reason, found in outcome["removed"].items():
        say(f"{found['rows']} rows are left out by preparation, {reason}: {', '.join(found['examples'])} …")
    if not outcome["added"]:
        say("failed: the data gate is closed; nothing has been added")
        return
    say(
        f"{outcome['kept']} of {outcome['rows']} rows are used. Commit data.dvc ({outcome['md5']}) and {target}; then:"
    )
    say(f"sear run --config {target}")


def print_status(state: dict[str, Any]) -> None:
    say(f"data.dvc: version {state['version']}, {state['files']} files, {state['bytes']:,} bytes")
    say(f"data/: {state['data']}")
    for kind, names in (state["changes"] or {}).items():
        for name in names[:20]:
            say(f"  {kind} {name}")
    say(f"DVC's cache: {'has it' if state['cached'] else 'does not have all of it'}")
    if state["remote"] is None:
        say("remote: none (`dvc remote add -d NAME URL`)")
    else:
        answers = {True: "has it", False: "does not have all of it; `sear data push`", None: "not known"}
        has = answers[state["remote"]["has"]]
        told = f" ({state['remote']['told']})" if state["remote"]["told"] else ""
        say(f"remote {state['remote']['name']} ({state['remote']['url']}): {has}{told}")


def print_diff(found: dict[str, Any]) -> None:
    from rich.markup import escape

    out = console()
    rows = table(out, escape(f"{found['from']['name']} → {found['to']['name']}"))
    for heading in ("table", "file", "added", "removed", "changed", "the same", "such as"):
        rows.add_column(heading)
    for item in found["tables"]:
        counts = [
            "-" if item[key] is None else str(item[key]) for key in ("added", "removed", "changed", "same")
        ]
        such = "; ".join(f"{kind} {', '.join(names)}" for kind, names in item["examples"].items())
        rows.add_row(escape(item["path"]), item["state"], *counts, escape(such or item["told"]))
    out.print(rows)
    say(f"{found['added']} rows added, {found['removed']} removed, {found['changed']} changed; "
         f"{found['unchanged']} files the same")  # fmt: skip
