"""What a person sees at the end: tables on standard error; plain text where that is no terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

HEADLINES = {"dsr": "DSR", "compliance.harmless": "harmless", "compliance.ambiguous": "ambiguous"}


def console() -> Console:
    """Standard error; no colours, boxes or cut-off columns where it is not a terminal."""
    import sys

    from rich.console import Console

    terminal = sys.stderr.isatty()
    return Console(stderr=True, no_color=not terminal, width=None if terminal else 200, highlight=False)


def table(out: Console, title: str = "") -> Table:
    from rich import box
    from rich.table import Table

    style = box.SIMPLE_HEAD if out.is_terminal else box.ASCII2
    return Table(title=title or None, box=style, title_justify="left", title_style="bold", pad_edge=False)


def rate(metrics: Mapping[str, float], name: str) -> str:
    """`.95 [.91, .97]`, the value alone where there is no interval, a dash where it was not measured."""
    values = [metrics.get(key, nan) for key in (name, f"{name}.low", f"{name}.high")]
    if not isfinite(values[0]):
        return "-"
    value, low, high = (short(v) for v in values)
    return f"{value} [{low}, {high}]" if isfinite(values[1]) and isfinite(values[2]) else value


def short(value: float) -> str:
    """A rate without its leading zero, two decimals; larger numbers as they are."""
    if not isfinite(value):
        return "-"
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def attacks_of(arms: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The attacks of which any arm has a `dsr.<attack>`; their other strengths, `@k`, are left out."""
    names = (k.removeprefix("dsr.") for m in arms.values() for k in m if k.startswith("dsr."))
    return list(dict.fromkeys(n for n in names if not re.search(r"(^|\.)(low|high)$|@", n)))


def print_summary(result: Mapping[str, Any], out: Console | None = None) -> None:
    """The end of `sear run`: arm × DSR and compliance with 95 % intervals, each attack, and where to look."""
    from rich.markup import escape

    out = out or console()
    arms = result.get("arms") or {}
    if arms:
        summary = table(out, "Asked directly (95 % intervals over prompts)")
        summary.add_column("arm")
        for label in HEADLINES.values():
            summary.add_column(label, justify="right", no_wrap=True)
        for arm, metrics in arms.items():
            summary.add_row(escape(arm), *(escape(rate(metrics, name)) for name in HEADLINES))
        out.print(summary)
    attacks = attacks_of(arms)
    if attacks:
        attacked = table(out, "Under attack (DSR, then ambiguous prompts answered)")
        attacked.add_column("arm")
        for attack in attacks:
            attacked.add_column(escape(attack.replace("_", " ")), justify="right")
        for arm, metrics in arms.items():
            cells = (
                f"{rate(metrics, f'dsr.{a}')}\n{rate(metrics, f'compliance.ambiguous.{a}')}" for a in attacks
            )
            attacked.add_row(escape(arm), *map(escape, cells))
        out.print(attacked)
    stages = result.get("stages") or []
    if stages:
        cached = sum(bool(stage["cached"]) for stage in stages)
        seconds = result.get("seconds", sum(stage["seconds"] for stage in stages))
        out.print(f"{len(stages)} stages, {cached} from the store, {seconds:.0f} s", soft_wrap=True)
    model = result.get("model")
    if model:
        state = "promoted to champion" if model["promoted"] else "registered as candidate, not promoted"
        out.print(f"{escape(model['name'])} version {model['version']}: {state}", soft_wrap=True)
        for reason in model.get("reasons") or []:
            out.print(f"  {escape(reason)}", soft_wrap=True)
    lines = [("report", result.get("report")), ("run", result.get("run_id"))]
    for label, value in lines:
        if value:
            out.print(f"{label}: {escape(str(value))}", soft_wrap=True)
    out.print('next: `make ui` shows the run in MLflow, `sear ask "…"` asks the champion', soft_wrap=True)


def print_plan(result: Mapping[str, Any], out: Console | None = None) -> None:
    """A line per stage: cached or to run, and why."""
    from rich.markup import escape

    out = out or console()
    plan = table(out)
    plan.add_column("stage", no_wrap=True)
    plan.add_column("", no_wrap=True)
    plan.add_column("why", overflow="fold")
    for stage in result["stages"]:
        word = "[green]cached[/green]" if stage["cached"] else "[yellow]to run[/yellow]"
        plan.add_row(escape(stage["name"]), word, escape(stage["reason"]))
    out.print(plan)
    to_run = sum(not stage["cached"] for stage in result["stages"])
    out.print(f"{to_run} of {len(result['stages'])} stages to run", soft_wrap=True)


def estimate(found: Mapping[str, Any] | None, signed: bool = False) -> str:
    """`.95 [.91, .99]`, the mean alone of one seed, a dash where it was not measured."""
    if found is None:
        return "-"

    def form(value: float) -> str:
        return f"{value:+.2f}" if signed else short(value)

    ends = "" if found["low"] is None else f" [{form(found['low'])}, {form(found['high'])}]"
    return form(found["mean"]) + ends


def print_study(result: Mapping[str, Any], out: Console | None = None) -> None:
    """The end of `sear study`: per share, arm × rates over seeds; differences to the baseline; who failed."""
    from rich.markup import escape

    out = out or console()
    headlines = {**HEADLINES, "trade_off": "DSR + ambiguous", "collapsed": "collapsed"}
    attacks = attacks_of(result["arms"])
    for share in result["shares"]:
        at = "" if share["share"] is None else f", share {share['share']:g}"
        for title, arms, signed in (
            (f"Means over seeds, 95 % t intervals{at}", share["arms"], False),
            (f"Differences to {result['baseline']}, paired by seed{at}", share["differences"], True),
        ):
            if not arms:
                continue
            shown = table(out, title)
            shown.add_column("arm")
            shown.add_column("seeds", justify="right")
            for label in (*headlines.values(), *(attack.replace("_", " ") for attack in attacks)):
                shown.add_column(escape(label), justify="right", no_wrap=True)
            for arm, found in arms.items():
                cells = [estimate(found.get(name), signed) for name in headlines]
                cells += [
                    f"{estimate(found.get(f'dsr.{a}'), signed)}\n"
                    f"{estimate(found.get(f'compliance.ambiguous.{a}'), signed)}"
                    for a in attacks
                ]
                shown.add_row(
                    escape(arm), str(found["dsr"]["n"]) if "dsr" in found else "-", *map(escape, cells)
                )
            out.print(shown)
    if result["against"]:
        shown = table(out, f"{result['candidate']} − each other arm, paired by seed")
        shown.add_column("arm")
        for label in ("seeds", *headlines.values()):
            shown.add_column(escape(label), justify="right", no_wrap=True)
        for arm, found in result["against"].items():
            seeds = str(found["dsr"]["n"]) if "dsr" in found else "-"
            shown.add_row(
                escape(arm), seeds, *(escape(estimate(found.get(name), True)) for name in headlines)
            )
        out.print(shown)
    for member in result["members"]:
        if member["status"] != "finished":
            out.print(f"failed: {escape(member['name'])}: {escape(member['error'])}", soft_wrap=True)
    for arm, names in result["collapsed"].items():
        out.print(f"collapsed: {escape(arm)}: {escape('; '.join(names))}", soft_wrap=True)
    stages = result["stages"]
    out.print(
        f"{len(result['members'])} members, {stages['cached'] + stages['executed']} stages, "
        f"{stages['cached']} from the store, {result['seconds']:.0f} s", soft_wrap=True,
    )  # fmt: skip
    for label, value in (("report", result["report"]), ("study", result["study_id"])):
        out.print(f"{label}: {escape(str(value))}", soft_wrap=True)
