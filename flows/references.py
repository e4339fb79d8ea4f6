"""What a config names beside its tables: models, files, libraries. Looked at before anything runs, not hours later."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from flows.models import is_hub_name
from sear_core.errors import InputError
from sear_core.model_directory import check_model_directory

if TYPE_CHECKING:
    from flows.config import PipelineConfig
    from tasks.workspace import Workspace


def model_names(settings: PipelineConfig) -> dict[str, str]:
    """{config key: directory or hub name} of every model that the config names."""
    named = {
        "warm_start.model.path": settings.warm_start.model.path,
        "reward_model.model.path": settings.reward_model.model.path,
        "policy.prover": settings.policy.prover,
        "evaluation.judge.model": settings.evaluation.judge.model,
        **{f"arm.{arm}.prover": settings.policy_of(arm).prover for arm in settings.arm},
    }
    return {key: name for key, name in named.items() if name is not None}


def needs_hub(settings: PipelineConfig, model: str | None = None) -> bool:
    """Whether the config, or the model that the call names, lies on the hub: else its libraries are kept offline."""
    names = [*model_names(settings).values(), *([model] if model else [])]
    return any(source.hub for source in settings.data.sources) or any(is_hub_name(name) for name in names)


def check_references(settings: PipelineConfig, workspace: Workspace) -> None:
    """Raise InputError for a model, file or library that the config names and that is not there."""
    for key, name in model_names(settings).items():
        if not name.strip():
            raise InputError(f"{key}: empty; expected a directory or a hub name")
        try:
            check_model_directory(name)
        except InputError as error:
            raise InputError(f"{key}: {error}") from None
    files = {"validation.reference": settings.validation.reference}
    files |= {f"report.judge_quality.{i}": name for i, name in enumerate(settings.report.judge_quality)}
    for key, name in files.items():
        if name and not workspace.resolve(name).is_file():
            raise InputError(f"{key}: {name}: no such file")
    if settings.data.tokenizer is not None:
        folder = workspace.resolve(settings.data.tokenizer)
        if not folder.is_file() and not (folder / "tokenizer.json").is_file():
            raise InputError(f"data.tokenizer: {folder}: expected a local folder with tokenizer.json")
    if "gcg" in settings.evaluation.attacks and find_spec("nanogcg") is None:
        raise InputError(
            "evaluation.attacks: 'gcg' needs nanogcg; expected it installed: pip install --no-deps nanogcg"
        )


def check_suites(names: Sequence[str], prepared: Path) -> None:
    """Raise InputError where the prepared evaluation table has no such suite, or no two sides to measure.

    prepared: the output of the stage *prepare*. An evaluation would say the same, after all the training.
    """
    from sear_core.evaluation import suites
    from sear_core.schema import read_table

    rows = read_table("evaluation", prepared / "tables")
    suites.check(suites.choose(suites.from_table(rows), names))
