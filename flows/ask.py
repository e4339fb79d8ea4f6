"""`sear ask`: a question to the champion; the answer alone, unless the reasoning is asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from sear_core.errors import InputError

if TYPE_CHECKING:
    from tasks.workspace import Workspace

REASONING_NOTE = "reasoning (it may explore unsafe ideas by design; not meant for the model's users):"


def ask(question: str, workspace: Workspace, show_reasoning: bool = False, name: str = "sear") -> str:
    """The champion's answer; the newest candidate's, with a warning, where no champion was promoted yet.

    Raises InputError where no model is registered, its files are gone, or the question is blank.
    """
    from flows.services import public
    from tasks.tracking import configure, tracking_uri

    if not question.strip():
        raise InputError("the question is blank; expected a text")
    uri = tracking_uri(workspace)
    from tasks.model_registry import CANDIDATE, CHAMPION, by_alias, store_exists

    if store_exists(uri):
        configure(workspace)
    found = by_alias(uri, name, CHAMPION)
    if found is None:
        found = by_alias(uri, name, CANDIDATE)
        if found is None:
            raise InputError(
                f"no model {name!r} is registered in {public(uri)}; `sear run` trains and registers one"
            )
        warn(f"no champion yet: candidate version {found.version} answers; it has not passed the gate")
    answered = _load(found.source, f"{name} version {found.version}")([question], show_reasoning)[0]
    if not answered["well_formed"]:
        warn("the model did not end its reasoning properly, so there is no answer")
    if show_reasoning:
        return f"{REASONING_NOTE}\n{answered['reasoning']}\n\nanswer:\n{answered['answer']}"
    return answered["answer"]


def _load(source: str, label: str):  # type: ignore[no-untyped-def]
    from tasks.serving import Answerer, model_directory

    parsed = urlparse(source)
    if parsed.scheme in ("", "file"):
        folder = Path(unquote(parsed.path) if parsed.scheme else source)
    else:
        from mlflow.artifacts import download_artifacts

        folder = Path(download_artifacts(artifact_uri=source))
    if not folder.is_dir():
        raise InputError(f"{label}: {folder} is gone; `sear run` makes it anew")
    return Answerer(model_directory(folder))


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
