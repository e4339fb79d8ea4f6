"""`sear ask`: a question to the champion, or another model; the answer alone, unless the reasoning is asked for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sear_core.errors import InputError

if TYPE_CHECKING:
    from flows.models import Found
    from tasks.workspace import Workspace

REASONING_NOTE = "reasoning (it may explore unsafe ideas by design; not meant for the model's users):"


def ask(
    question: str, workspace: Workspace, show_reasoning: bool = False, model: str = "sear",
    max_new_tokens: int | None = None, dtype: str = "float32", trust_remote_code: bool = False,
) -> str:  # fmt: skip
    """The answer of a model (flows/models.py); of a registered model's name: its champion's.

    Where no champion was promoted yet the newest candidate answers, with a warning. Raises InputError where no
    such model is registered, its files are gone, the question is blank, or dtype or length are impossible.
    """
    from tasks.serving import MAX_NEW_TOKENS, Answerer

    if not question.strip():
        raise InputError("the question is blank; expected a text")
    if max_new_tokens is not None and max_new_tokens < 1:
        raise InputError(f"max_new_tokens {max_new_tokens}: expected at least 1")
    found = _find(model, workspace)
    answerer = Answerer(found.path, dtype=dtype, trust_remote_code=trust_remote_code)
    answered = answerer([question], show_reasoning, max_new_tokens or MAX_NEW_TOKENS)[0]
    if not answered["well_formed"]:
        warn("the model did not end its reasoning properly, so there is no answer")
    if show_reasoning:
        return f"{REASONING_NOTE}\n{answered['reasoning']}\n\nanswer:\n{answered['answer']}"
    return answered["answer"]


def _find(model: str, workspace: Workspace) -> Found:
    from flows.models import Found, directory_of, find_model
    from tasks.model_registry import CANDIDATE, CHAMPION, by_alias, store_exists
    from tasks.secrets import public
    from tasks.tracking import configure

    if "/" in model or model.isdigit():
        return find_model(model, workspace)
    uri = workspace.tracking_uri
    if store_exists(uri):
        configure(workspace)
    found = by_alias(uri, model, CHAMPION)
    if found is None:
        found = by_alias(uri, model, CANDIDATE)
        if found is None:
            raise InputError(
                f"no model {model!r} is registered in {public(uri)}; `sear run` trains and registers one"
            )
        warn(f"no champion yet: candidate version {found.version} answers; it has not passed the gate")
    label = f"{model} version {found.version}"
    return Found(str(directory_of(found.source, label)), label)


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
