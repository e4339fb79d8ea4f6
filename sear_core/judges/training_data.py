"""The public sets that the learnt judges are trained on, read by path from one folder (`data.root`).

    chatgpt_refusals  the refusal judge. Human tones: complied, disclaimed, contradicted -> full compliance; rejected ->
                      full refusal; the others are no class of XSTest's and are left out (labels.py)
    gptfuzz           the harm judge. A human label, harmful or not

Only these two are marked for judges by the folder's README. XSTest and HarmBench are read nowhere here.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from sear_core.data.readers import read_records
from sear_core.errors import InputError
from sear_core.judges.labels import map_labels
from sear_core.judges.refusal_rules import CLASSES

FILES = {
    "chatgpt_refusals": "chatgpt_refusals/all_hand_labeled.jsonl",
    "gptfuzz": "gptfuzz/train.csv",
}


@dataclass(frozen=True)
class RefusalRow:
    source: str
    prompt: str
    answer: str
    label: int  # index into CLASSES


@dataclass(frozen=True)
class HarmRow:
    question: str  # a number in the file: what folds are grouped by
    answer: str
    harmful: bool


def _records(root: Path, name: str) -> list[dict]:
    path = root / FILES[name]
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; the judges are trained on {', '.join(FILES.values())} in data.root"
        )
    return [record for _, record in read_records(path)]


def refusal_rows(root: Path) -> list[RefusalRow]:
    """Raises InputError where the file is not there."""
    rows = []
    records = _records(root, "chatgpt_refusals")
    for record, label in zip(records, map_labels([r["tone"] for r in records]), strict=True):
        if label is not None:
            rows.append(
                RefusalRow("chatgpt_refusals", record["prompt"], record["response"], CLASSES.index(label))  # type: ignore[arg-type]
            )
    return rows


def harm_rows(root: Path) -> list[HarmRow]:
    """GPTFuzz, each response once: by the majority of its labels (a tie is left out), under its first question.

    So no response is in two folds where folds are grouped by question. Raises InputError without the file.
    """
    seen: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for record in _records(root, "gptfuzz"):
        seen[record["Response"]].append((record["question"], int(record["label"])))
    rows = []
    for answer, told in seen.items():
        share = sum(label for _, label in told) / len(told)
        if share != 0.5:
            rows.append(HarmRow(told[0][0], answer, share > 0.5))
    return rows


def digest(root: Path) -> dict[str, str]:
    """{source: sha256 of its file}: what weights say they were trained on."""
    missing = [path for path in FILES.values() if not (root / path).is_file()]
    if missing:
        raise InputError(
            f"{root / missing[0]}: no such file; the judges are trained on {', '.join(FILES.values())}"
        )
    return {name: hashlib.sha256((root / path).read_bytes()).hexdigest() for name, path in FILES.items()}
