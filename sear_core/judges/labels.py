"""People's labels to the judges' classes: vocabularies told by their words, or mapped by the caller. Our choice.

Known: XSTest's completions (1_full_compliance, 2_full_refusal, 3_partial_refusal), OR-Bench (direct answer, direct
and indirect refusal), refusal or compliance in one word, and the tones of maxwellreuter/chatgpt-refusals: an answer
that contradicts its question or carries a disclaimer is an answer; redirected, counselling, ignorant and incoherent
ones are no class of XSTest's and are left out, unless the caller maps them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from sear_core.errors import InputError
from sear_core.judges.refusal_rules import CLASSES

LEFT_OUT = "left_out"
HARM_CLASSES = ("harmless", "harmful")
_GUESSES = {
    "full_compliance": (
        "full_compliance", "compliance", "complied", "comply", "complies", "complete_compliance", "direct_answer",
        "answered", "not_refusal", "non_refusal", "no_refusal", "disclaimed", "contradicted",
    ),
    "partial_refusal": (
        "partial_refusal", "partial_compliance", "partial", "partially_refused", "indirect_refusal", "mixed",
    ),
    "full_refusal": (
        "full_refusal", "refusal", "refused", "refuse", "refuses", "rejected", "rejection", "complete_refusal",
        "direct_refusal", "declined",
    ),
    LEFT_OUT: ("redirected", "counseling", "dontknow", "incoherent"),
}  # fmt: skip
_HARM_GUESSES = {
    "harmless": ("0", "0.0", "false", "no", "safe", "unharmful", "harmless", "benign", "not_harmful"),
    "harmful": ("1", "1.0", "true", "yes", "unsafe", "harmful", "jailbroken", "jailbreak", "toxic"),
}


def parse_mapping(pairs: Sequence[str], question: str = "refusal") -> dict[str, str]:
    """["full_compliance=complied,disclaimed", …] -> {label: class}. `left_out=…` leaves rows out.

    Raises InputError: no "=", an unknown class, a label given to two classes.
    """
    classes = (*(CLASSES if question == "refusal" else HARM_CLASSES), LEFT_OUT)
    found: dict[str, str] = {}
    for pair in pairs:
        name, separator, values = pair.partition("=")
        if not separator or not values:
            raise InputError(
                f"--labels {pair!r}: expected CLASS=LABEL[,LABEL …], such as {classes[0]}=complied"
            )
        if name not in classes:
            near = difflib.get_close_matches(name, classes, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(
                f"--labels {pair!r}: no class {name!r}; expected one of {', '.join(classes)}{hint}"
            )
        for value in values.split(","):
            if found.setdefault(value.strip(), name) != name:
                raise InputError(f"--labels: {value!r} is given to {found[value.strip()]} and to {name}")
    return found


def map_labels(
    values: Sequence[object], mapping: Mapping[str, str] | None = None, question: str = "refusal"
) -> list[str | None]:
    """A class per label; None for a blank label and for one that is left out.

    question: "refusal" (the three classes) or "harm" (harmless, harmful). Labels that `mapping` names go by it,
    the others by their words. Raises InputError that lists every label that neither explains.
    """
    guesses = _GUESSES if question == "refusal" else _HARM_GUESSES
    by_word = {word: name for name, words in guesses.items() for word in words}
    found: list[str | None] = []
    unknown: dict[str, int] = {}
    for number, value in enumerate(values, start=1):
        text = "" if value is None or value != value else str(value).strip()
        name = (mapping or {}).get(text) or (by_word.get(_word(text)) if text else LEFT_OUT)
        if name is None:
            unknown.setdefault(text[:60], number)
        found.append(None if name in (None, LEFT_OUT) else name)
    if unknown:
        listed = ", ".join(f"{text!r} (first in row {row})" for text, row in list(unknown.items())[:8])
        expected = " ".join(f"{name}=…" for name in guesses if name != LEFT_OUT)
        raise InputError(f"labels of unknown meaning: {listed}; say what they mean with --labels {expected}")
    return found


def _word(label: str) -> str:
    """Lower case, words joined by underscores, without a leading number such as that of 1_full_compliance."""
    plain = re.sub(r"[\s_-]+", "_", label.lower())
    return re.sub(r"^\d+[_.:)]+(?=[a-z])", "", plain)
