"""Conditions: an attack at a strength. Names and strengths of the config -> what is run, checked. Our choice.

A condition is named as its attack where the strength is the attack's default, `<attack>@<k>` at another.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sear_core.errors import InputError
from sear_core.evaluation.artifacts import artifact_attack
from sear_core.evaluation.attacks import ATTACKS, NONE, REASONING_USE, Attack

_NAME = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class Condition:
    """`strength` None: the attack's default."""

    attack: Attack
    strength: int | None = None

    @property
    def name(self) -> str:
        return self.attack.name if self.strength is None else f"{self.attack.name}@{self.strength}"

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.name, "attack": self.attack.name, "strength": self.strength, "unit": self.attack.unit,
            "default": self.attack.default, "kind": self.attack.kind, "description": self.attack.description,
        }  # fmt: skip


def resolve(
    names: Iterable[str],
    strengths: Mapping[str, Sequence[int]] | None = None,
    artifacts: Mapping[str, str] | None = None,
    reasoning_use: bool = False,
    limit: int | None = None,
) -> tuple[list[Condition], list[str]]:
    """What is run, in order, and notes on what is left out. `none` comes first, named or not.

    names: of ATTACKS, or `module:object` of the user's own; artifacts: {attack name: file}; strengths: further
    strengths of any of these, by name. Raises InputError naming what is unknown, with the nearest right name.
    """
    attacks: dict[str, Attack] = {}
    notes: list[str] = []
    for name in dict.fromkeys(names):
        if name != NONE.name:
            attacks[name] = _imported(name) if ":" in name else _known(name)
    for name, path in (artifacts or {}).items():
        if not _NAME.fullmatch(name) or name in ATTACKS or name in REASONING_USE or name == NONE.name:
            raise InputError(
                f"evaluation.artifacts: {name!r}: expected a name of its own, of letters, digits, _ and -"
            )
        attacks[name], missing = artifact_attack(name, Path(path).expanduser(), limit)
        notes += missing
    own_names = [attack.name for attack in attacks.values()]
    if len(set(own_names)) != len(own_names):
        raise InputError(f"evaluation.attacks: two attacks have one name, of {', '.join(own_names)}")
    wanted = dict(strengths or {})
    for name in wanted:
        if name not in attacks:
            raise InputError(
                f"evaluation.strengths: {name!r} is not among the attacks{_nearest(name, attacks)}; "
                f"there are: {', '.join(attacks) or 'none'}"
            )
    found = [Condition(NONE)]
    for name, attack in attacks.items():
        found += [Condition(attack), *_sweep(name, attack, wanted.get(name, ()))]
    found += [Condition(attack) for attack in REASONING_USE.values() if reasoning_use]
    return found, notes


def _sweep(name: str, attack: Attack, strengths: Sequence[int]) -> list[Condition]:
    if strengths and not attack.unit:
        raise InputError(f"evaluation.strengths: attack {name!r} has no strength; expected none for it")
    for strength in strengths:
        if strength < 1 or (attack.most is not None and strength > attack.most):
            most = "" if attack.most is None else f" to {attack.most}"
            raise InputError(
                f"evaluation.strengths.{name}: {strength}; expected whole numbers of {attack.unit} from 1{most}"
            )
    return [Condition(attack, strength) for strength in sorted(set(strengths)) if strength != attack.default]


def _known(name: str) -> Attack:
    if name not in ATTACKS:
        raise InputError(
            f"unknown attack {name!r}{_nearest(name, ATTACKS)}; known: {', '.join(sorted(ATTACKS))}; "
            f"or `module:object` of your own"
        )
    return ATTACKS[name]


def _imported(name: str) -> Attack:
    """The user's own Attack, by `module:object`. Code that the config names is the user's, and is run."""
    module, _, attribute = name.partition(":")
    try:
        attack = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the module is the user's, and may raise anything
        raise InputError(f"attack {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(attack, Attack):
        raise InputError(
            f"attack {name!r} is a {type(attack).__name__}; expected an Attack (sear_core.evaluation.attacks)"
        )
    taken = attack.name in ATTACKS or attack.name in REASONING_USE or attack.name == NONE.name
    if taken or not _NAME.fullmatch(attack.name) or attack.kind != "attack":
        raise InputError(
            f"attack {name!r} is named {attack.name!r}, of kind {attack.kind!r}; expected a name of its own, of "
            f"letters, digits, _ and -, and kind 'attack'"
        )
    return attack


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return f"; did you mean {found[0]!r}?" if found else ""
