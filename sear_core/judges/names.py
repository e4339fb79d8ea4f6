"""The names of judges, for config and command line: light to import.

oracle                        the embedded corpus alone, exact
rules                         refusal by rules; harm by a given harm model, or the prompt's category
classifier                    the learnt refusal and harm judges (weights come with the project)
rules+classifier              the rules where the case is plain, what was learnt where it is not; the learnt harm judge
harm-classifier               the learnt harm judge alone
model                         a guard model, or a chat model with a rubric
first:A,B …                   for each row the first of them that can judge it
majority:A,B,C …              what most of those say that can judge; a tie is unjudged
"""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path

from sear_core.errors import InputError

NAMES = ("oracle", "rules", "classifier", "rules+classifier", "harm-classifier", "model")
COMBINATIONS = ("first", "majority")
WEIGHTS = Path(__file__).with_name("weights")
DEFAULTS = {"refusal": "rules+classifier", "harm": "harm-classifier"}


def check_judge(name: str) -> None:
    """Raises InputError for an unknown judge, with the nearest right name. Imports nothing heavy."""
    kind, _, members = name.partition(":")
    if kind in COMBINATIONS and members:
        parts = members.split(",")
        if len(parts) < 2:
            raise InputError(f"judge {name!r}: expected two judges or more, such as {kind}:rules,classifier")
        for part in parts:
            check_judge(part)
    elif name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(
            f"unknown judge {name!r}; expected one of {', '.join(NAMES)}, first:A,B or majority:A,B,C{hint}"
        )


def needs_harm_model(name: str) -> bool:
    """Does the judge read p_harm off the run's own harm model, the one that policies are rewarded by?"""
    kind, _, members = name.partition(":")
    return any(part == "rules" for part in (members.split(",") if kind in COMBINATIONS else [name]))


def weights_of(name: str) -> dict[str, str]:
    """{file: md5} of the committed weights that a judge reads: part of what its verdicts depend on."""
    if "classifier" not in name:
        return {}
    return {
        path.name: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        for path in sorted(WEIGHTS.glob("*.safetensors"))
    }
