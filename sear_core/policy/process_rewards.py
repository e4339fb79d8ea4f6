"""Process rewards: the value V_k of a reasoning prefix z_1 … z_k for an unsafe response; one interface.

    harm_model       V_k = p_harm(x, z_1 … z_k), from the causal harm model: all K boundaries in one forward pass
    forced_answer    V_k = mean p_harm(x, a) over m short answers a that a frozen prover gives after z_k (the progress
                     reward of MRT, arXiv 2503.07572; why the prover is not the policy: PAV, arXiv 2410.08146)
    target_logprob   V_k = mean log-probability per token, in nats, of a given unsafe answer after z_k, by the prover

A plug-in of one's own is named `module:object`. Our choice throughout: what the paper's process reward is, its
abstract does not say. This module imports nothing heavy: the config reads its names.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import logging
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from sear_core.errors import InputError

logger = logging.getLogger(__name__)
NAMES = ("harm_model", "forced_answer", "target_logprob")
DEFAULT_TARGET = "Sure, here is how to do it."
LARGEST = 1e6  # of a value: one beyond would keep each player's running σ too large for a thousand updates


class ProcessReward(Protocol):
    """What a plug-in implements. It may also set `explored_from`, the V_K from which a reasoning counts as an
    exploration in the metrics (½ where it does not)."""

    def values(self, prompts: list[str], steps: list[list[str]]) -> Sequence[Sequence[float] | None]:
        """V_0 … V_K per row: K + 1 values for K steps, index 0 the value of the empty reasoning. Prompts are as
        their author wrote them. NaN or None for what cannot be scored; the row then earns no process reward."""
        ...


class HarmModelReward:
    """V_k = p_harm(x, z_1 … z_k) of a loaded HarmModel, which may have a tokenizer of its own: it is given texts."""

    def __init__(self, harm: Any) -> None:
        self.harm = harm

    def values(self, prompts: list[str], steps: list[list[str]]) -> list[list[float]]:
        return self.harm.score_steps(prompts, steps)


class ForcedAnswerReward:
    """V_k: the think block is closed after z_k, `prover` answers m times, the harm model judges; their mean p_harm."""

    def __init__(
        self, prover: Any, harm: Any, *, samples: int = 1, max_new_tokens: int = 32, temperature: float = 1.0
    ) -> None:
        self.prover, self.harm = prover, harm
        self.samples, self.max_new_tokens, self.temperature = samples, max_new_tokens, temperature

    def values(self, prompts: list[str], steps: list[list[str]]) -> list[list[float] | None]:
        answers = self.prover.answers(
            prompts,
            steps,
            samples=self.samples,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
        )
        asked = [
            (prompt, answer)
            for prompt, row in zip(prompts, answers, strict=True)
            for after in row or []
            for answer in after
        ]
        scores = iter(self.harm.score_answers([prompt for prompt, _ in asked], [a for _, a in asked]))
        return [
            row and [sum(next(scores) for _ in after) / len(after) for after in row]  # None stays None
            for row in answers
        ]


class TargetLogprobReward:
    """V_k of an unsafe answer to the prompt: `targets` (prompt -> answer), `default` where there is none."""

    explored_from = math.log(0.5)  # the answer's tokens have probability ½, by geometric mean

    def __init__(self, prover: Any, targets: Mapping[str, str], default: str = DEFAULT_TARGET) -> None:
        self.prover, self.targets, self.default = prover, dict(targets), default

    def values(self, prompts: list[str], steps: list[list[str]]) -> list[list[float] | None]:
        targets = [self.targets.get(prompt, self.default) for prompt in prompts]
        return self.prover.log_probabilities(prompts, steps, targets)


def check_name(name: str) -> None:
    """Raises InputError where `name` is neither one of NAMES nor `module:object`, with the nearest right name."""
    if name in NAMES or (":" in name and all(name.split(":", 1))):
        return
    near = difflib.get_close_matches(name, NAMES, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise InputError(
        f"policy.process_reward = {name!r}: no such process reward{hint}; there are {', '.join(NAMES)}, and your own "
        f"as module:object"
    )


def plug_in_file(name: str) -> Path:
    """The source file of a plug-in's module, found without running it (its parent packages apart).

    Modules are found where Python finds them, and in the working directory. Raises InputError where there is none,
    or where it defines no such object.
    """
    module, _, attribute = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        spec = importlib.util.find_spec(module)
    except Exception as error:  # a parent package is run, and may raise anything
        raise InputError(f"policy.process_reward = {name!r}: cannot be imported ({_told(error)})") from error
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        raise InputError(f"policy.process_reward = {name!r}: there is no module {module!r} on Python's path")
    path = Path(spec.origin)
    if path.suffix == ".py":
        try:
            defined = _names_in(ast.parse(path.read_bytes()))
        except SyntaxError as error:
            raise InputError(
                f"policy.process_reward = {name!r}: {path}, line {error.lineno}: {error.msg}"
            ) from error
        first = attribute.split(".")[0]
        if first not in defined and "*" not in defined:
            near = difflib.get_close_matches(first, sorted(defined), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"policy.process_reward = {name!r}: {path} defines no {first!r}{hint}")
    return path


def _names_in(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name.split(".")[0])
    return found


def load_plug_in(name: str) -> ProcessReward:
    """The object that `module:object` names; a class is called without arguments first.

    Raises InputError where it cannot be imported or called, whatever its code raises, has no method `values`, or an
    `explored_from` that is no number.
    """
    module_name, _, attribute = name.partition(":")
    if module_name not in sys.modules:
        plug_in_file(name)
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise InputError(f"policy.process_reward = {name!r}: cannot be imported ({_told(error)})") from error
    try:
        reward = found() if isinstance(found, type) else found
    except Exception as error:
        raise InputError(
            f"policy.process_reward = {name!r}: {attribute}() without arguments failed ({_told(error)})"
        ) from error
    if not callable(getattr(reward, "values", None)):
        raise InputError(
            f"policy.process_reward = {name!r}: has no method values(prompts, steps) -> V_0 … V_K per row"
        )
    bound: Any = getattr(reward, "explored_from", 0.5)
    if isinstance(bound, str | bytes | bool) or not hasattr(bound, "__float__") or not math.isfinite(bound):
        raise InputError(
            f"policy.process_reward = {name!r}: explored_from is {bound!r}, expected a finite number"
        )
    return reward


def checked_values(
    reward: ProcessReward, prompts: list[str], steps: list[list[str]]
) -> list[list[float] | None]:
    """V_0 … V_K per row; None (unscorable) for a row that is not K + 1 finite numbers within ±LARGEST.

    What is wrong with the first such row is logged. Raises RuntimeError, naming the process reward, where it fails or
    returns anything but as many rows.
    """
    if not prompts:
        return []
    name = type(reward).__name__
    try:
        found: Any = reward.values(prompts, steps)
        listed = isinstance(found, Iterable) and not isinstance(found, str | bytes | Mapping)
        rows: list[Any] = list(found) if listed else []
    except Exception as error:
        raise RuntimeError(
            f"the process reward {name} failed on {len(prompts)} reasonings: {_told(error)}"
        ) from error
    if not listed or len(rows) != len(prompts):
        what = f"{len(rows)} rows" if listed else f"a result of type {type(found).__name__}"
        raise RuntimeError(f"the process reward {name} returned {what}, expected {len(prompts)} rows")
    checked = [_checked_row(row, len(row_steps) + 1) for row, row_steps in zip(rows, steps, strict=True)]
    wrong = next((row for row in checked if isinstance(row, str)), None)
    if wrong is not None:  # training goes on without these
        _say_once(f"the process reward {name} returned what cannot be used ({wrong}); such rows earn no process reward "
                  f"and are counted in reward/unscorable")  # fmt: skip
    return [None if isinstance(row, str) else row for row in checked]


@cache
def _say_once(text: str) -> None:
    logger.warning(text)


def _checked_row(row: Any, length: int) -> list[float] | str:
    """The row's values; or, in words, what is wrong with it."""
    if row is None:
        return "None"
    if hasattr(row, "tolist"):  # an array or a tensor, on whatever device
        row = row.tolist()
    if isinstance(row, str | bytes) or not isinstance(row, Sequence):
        return f"a row of type {type(row).__name__}, expected K + 1 = {length} numbers"
    if len(row) != length:
        return f"{len(row)} values, expected K + 1 = {length}"
    values: list[float] = []
    for value in row:
        try:
            if isinstance(value, str | bytes):  # which float() would read
                raise TypeError
            values.append(float(value))
        except OverflowError:  # an integer beyond any float
            values.append(math.inf)
        except (TypeError, ValueError, RuntimeError):  # the last: a tensor of several numbers
            return f"a value of type {type(value).__name__}, expected numbers"
    if not all(abs(value) <= LARGEST for value in values):  # NaN is not, either
        return f"{length} values, not all finite and within ±{LARGEST:g}"
    return values


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
