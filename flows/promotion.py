"""`sear promote`, `sear rollback`, `sear history`: who is champion, since when, and why."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sear_core.errors import InputError

if TYPE_CHECKING:
    from tasks.model_registry import Registered
    from tasks.workspace import Workspace

PARENT, PROMOTED = "mlflow.parentRunId", "sear.promoted"


class Refused(RuntimeError):
    """The gate does not let a version be promoted. Exit code 1."""


def promote(
    workspace: Workspace, version: str, name: str = "sear", force: bool = False, reason: str = ""
) -> dict[str, Any]:
    """Make a version the champion, where its gate passed against the present one; `force` needs a reason.

    Raises InputError for an unknown version or force without a reason, Refused with the gate's own reasons.
    """
    from tasks import model_registry

    if force and not reason.strip():
        raise InputError("--force: expected --reason with why the gate is overruled; it is written down")
    uri, found = _version(workspace, version, name)
    champion = model_registry.by_alias(uri, name, model_registry.CHAMPION)
    if champion is not None and champion.version == found.version:
        return _result(name, found.version, None, f"version {found.version} is the champion already")
    against = obstacle(found, champion)
    if against and not force:
        raise Refused(f"version {found.version} of {name!r} is not promoted: {against}")
    told = reason.strip() or "its gate passed"
    return _move(uri, name, found, "force" if against else "promote", told)


def obstacle(found: Registered, champion: Registered | None) -> str:
    """Why the gate does not let a version become champion, or ""."""
    from tasks.model_registry import RIVAL_TAG

    if found.tags.get("gate") != "passed":
        return f"its gate has not passed: {found.tags.get('gate.reasons', 'it was never asked')}"
    met, now = (
        found.tags.get(RIVAL_TAG, "none"),
        "none" if champion is None else f"{champion.version} {champion.md5}",
    )
    if met != now:
        return (
            f"its gate passed against {_who(met)}, but {_who(now)} is in place now; run it again to meet it"
        )
    return ""


def _who(rival: str) -> str:
    return "no champion" if rival == "none" else f"version {rival.partition(' ')[0]}"


def rollback(workspace: Workspace, name: str = "sear", reason: str = "", to: str = "") -> dict[str, Any]:
    """Point `champion` back at the version before it, or at `to`. Raises InputError where there is none."""
    from tasks import model_registry

    uri = workspace.tracking_uri
    champion = model_registry.by_alias(uri, name, model_registry.CHAMPION)
    if not to:
        if champion is None:
            raise InputError(f"{name!r} has no champion to roll back from")
        known = model_registry.versions(uri, name)
        # A rollback is no promotion: two in a row go two promotions back.
        arrivals = [
            m for m in model_registry.moves(known) if m.after == champion.version and m.how != "rollback"
        ]
        to = arrivals[-1].before if arrivals else ""
        if not to:
            raise InputError(
                f"{name!r}: version {champion.version} was the first champion; nothing to go back to"
            )
    found = _version(workspace, to, name)[1]
    return _move(uri, name, found, "rollback", reason.strip() or "no reason given")


def history(workspace: Workspace, name: str = "sear") -> dict[str, Any]:
    """{"versions": newest first, "moves": of the champion alias, oldest first}."""
    from tasks import model_registry

    uri = workspace.tracking_uri
    known = model_registry.versions(uri, name)
    aliases: dict[str, list[str]] = {}
    for alias in (model_registry.CHAMPION, model_registry.CANDIDATE):
        holder = model_registry.by_alias(uri, name, alias)
        if holder is not None:
            aliases.setdefault(holder.version, []).append(alias)
    return {
        "schema_version": 1, "model": name,
        "versions": [
            {"version": r.version, "created": datetime.fromtimestamp(r.created, UTC).isoformat(timespec="seconds"),
             "aliases": aliases.get(r.version, []), "gate": r.tags.get("gate", ""),
             "reasons": r.tags.get("gate.reasons", ""), "data": r.tags.get("dvc.md5", ""), "metrics": r.metrics}
            for r in known
        ],
        "moves": [asdict(move) for move in model_registry.moves(known)],
    }  # fmt: skip


def _version(workspace: Workspace, version: str, name: str) -> tuple[str, Registered]:
    from tasks import model_registry
    from tasks.secrets import public

    uri = workspace.tracking_uri
    found = model_registry.by_version(uri, name, version) if version.isdigit() else None
    if found is None:
        known = [r.version for r in model_registry.versions(uri, name)]
        there = f"there are: {', '.join(known)}" if known else f"none is registered in {public(uri)}"
        raise InputError(f"version {version!r} of {name!r}: no such version; {there}")
    return uri, found


def _move(uri: str, name: str, found: Registered, how: str, reason: str) -> dict[str, Any]:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from tasks import model_registry

    move = model_registry.move_champion(uri, name, found.version, how, reason)
    if move is None:
        return _result(name, found.version, None, f"version {found.version} is the champion already")
    client = MlflowClient(uri)
    try:
        run = client.get_run(found.run_id)
        for run_id in {found.run_id, run.data.tags.get(PARENT, found.run_id)}:
            client.set_tag(run_id, PROMOTED, f"{how}: {reason}")
    except MlflowException as error:  # the run may have been deleted; the version carries the move
        print(f"warning: the run of version {found.version} is not marked: {error}", file=sys.stderr)
    before = f"in place of version {move.before}" if move.before else "the first"
    return _result(
        name, found.version, asdict(move), f"version {found.version} is champion now, {before} ({how})"
    )


def _result(name: str, version: str, move: dict[str, Any] | None, text: str) -> dict[str, Any]:
    return {"schema_version": 1, "model": name, "champion": version, "move": move, "text": text}


def print_history(found: dict[str, Any]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    out = Console()
    columns = ("version", "created", "alias", "gate", "dsr", "harmless", "ambiguous")
    table = Table(*columns, title=found["model"], box=SIMPLE)  # narrow enough for 80 columns
    for row in found["versions"]:
        shown = [row["metrics"].get(m) for m in ("dsr", "compliance.harmless", "compliance.ambiguous")]
        table.add_row(
            row["version"], row["created"][:16].replace("T", " "), "\n".join(row["aliases"]), row["gate"],
            *("–" if value is None else f"{value:.3f}" for value in shown),
        )  # fmt: skip
    out.print(table)
    for move in found["moves"]:
        out.print(
            f"{move['at'][:19]}  champion {move['before'] or 'none'} → {move['after']}  {move['how']} by "
            f"{move['by']}: {move['reason']}", markup=False,
        )  # fmt: skip
