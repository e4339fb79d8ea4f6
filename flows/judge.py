"""`sear judge`: any table of prompts and completions, judged; with people's labels, how well the judge agrees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.config import PipelineConfig

QUESTIONS = ("refusal", "harm")


def configured(
    settings: PipelineConfig | None, judge: str | None, model: str | None, template: str | None
) -> dict[str, Any]:
    """The judge's options: those of the call before those of `[evaluation.judge]`."""
    if (model or template) and judge is None:
        judge = "model"
    options = {"judge": judge, "model": model, "template": template}
    if settings is None:
        return {key: value for key, value in options.items() if value is not None}
    section = settings.evaluation.judge
    found = section.options() | {"judge": section.kind, "seed": settings.seed}
    return found | {key: value for key, value in options.items() if value is not None}


def judge_file(
    file: Path,
    *,
    prompt: str,
    completion: str,
    label: str | None = None,
    category: str | None = None,
    judge: str | None = None,
    labels: Sequence[str] = (),
    question: str = "refusal",
    out: Path | None = None,
    seed: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """The report that `sear judge` prints. Raises InputError for a wrong call, file, column, label or judge."""
    from sear_core.errors import InputError
    from sear_core.judges.build import build_judge
    from sear_core.judges.labels import parse_mapping
    from sear_core.judges.names import DEFAULTS, check_judge
    from sear_core.judges.table import judge_table, read_judge_table, write_verdicts

    if question not in QUESTIONS:
        raise InputError(f"--question {question!r}: expected one of {', '.join(QUESTIONS)}")
    if out is not None and out.suffix not in (".csv", ".jsonl", ".parquet"):
        raise InputError(f"--out {out}: unknown kind of file; expected .csv, .jsonl or .parquet")
    if out is not None and not out.parent.is_dir():
        raise InputError(f"--out {out}: no folder {out.parent}")
    if labels and label is None:
        raise InputError("--labels without --label: expected the column of labels that it explains")
    name = judge or DEFAULTS[question]
    check_judge(name)
    mapping = parse_mapping(labels, question)
    table = read_judge_table(file, prompt, completion, label, category)
    chosen = build_judge(name, **options)
    report, verdicts = judge_table(table, chosen, mapping=mapping, question=question, seed=seed)
    report = {"file": str(file)} | report
    if out is not None:
        write_verdicts(table, verdicts, out)
        report["out"] = str(out)
    return report


def print_report(report: dict[str, Any]) -> None:
    """The report as tables, for people."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    counts = ", ".join(f"{name} {n}" for name, n in report["verdicts"].items())
    console.print(
        f"{report['file']}: {report['rows']} rows, {report['judged']} judged by {report['judge']}, "
        f"{report['unjudged']} unjudged",
        markup=False,
    )
    console.print(f"verdicts: {counts}", markup=False)
    if "out" in report:
        console.print(f"verdicts written to {report['out']}", markup=False)
    agreement = report["agreement"]
    if agreement is None:
        return
    left = report["rows"] - report["labelled"]
    console.print(f"agreement over {agreement['rows']} rows judged and labelled ({left} without a label)")
    if not agreement["rows"]:
        return
    beside = report.get("prefix_match")
    rates = Table(
        "agreement with people", report["judge"], *(["string match", "difference"] if beside else [])
    )
    names = {"binary": "binary", "three_way": "three-way", "kappa": "Cohen's kappa", "auroc": "AUROC"}
    for key, title in names.items():
        if agreement.get(key) is None:
            continue
        cells = [_with(agreement[key], agreement["intervals"].get(key))]
        if beside:
            cells += [
                _with(beside[key], beside["intervals"].get(key)),
                _signed(beside["difference"].get(key)),
            ]
        rates.add_row(title, *cells)
    console.print(rates)
    classes = list(agreement["confusion"])
    confusion = Table("label \\ verdict", *classes)
    for label, row in agreement["confusion"].items():
        confusion.add_row(label, *(str(row[name]) for name in classes))
    console.print(confusion)
    quality = Table("class", "precision", "recall", "labelled")
    for name, of in agreement["classes"].items():
        quality.add_row(
            name, _with(of["precision"], of["precision_interval"]), _with(of["recall"], of["recall_interval"]),
            str(of["labelled"]),
        )  # fmt: skip
    console.print(quality)


def _with(value: float | None, interval: Sequence[float | None] | None) -> str:
    if value is None:
        return "–"
    if not interval or interval[0] is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def _signed(difference: Sequence[float | None] | None) -> str:
    if not difference or difference[0] is None:
        return "–"
    if difference[1] is None:
        return f"{difference[0]:+.3f}"
    return f"{difference[0]:+.3f} [{difference[1]:+.3f}, {difference[2]:+.3f}]"
