"""Judges by their names (names.py)."""

from __future__ import annotations

from typing import Any

from sear_core.errors import InputError
from sear_core.evaluation.judges import Judge, OracleJudge, RulesJudge
from sear_core.judges.names import COMBINATIONS, check_judge


def build_judge(
    name: str,
    *,
    harm_model: Any | None = None,
    harm_threshold: float = 0.5,
    model: str | None = None,
    template: str | None = None,
    **loading: Any,
) -> Judge:
    """The judge of that name. harm_model: one with HarmModel's methods, for `rules`; model, template and loading
    (revision, dtype, trust_remote_code, backend, batch_size): for `model`, see load_model_judge.

    Raises InputError for an unknown name or template, and for a judge model that is not named or cannot be loaded.
    """
    check_judge(name)
    kind, _, members = name.partition(":")
    if kind in COMBINATIONS:
        from sear_core.judges.combine import FirstJudge, MajorityJudge

        judges = [
            build_judge(
                part, harm_model=harm_model, harm_threshold=harm_threshold, model=model, template=template,
                **loading,
            )
            for part in members.split(",")
        ]  # fmt: skip
        return FirstJudge(judges) if kind == "first" else MajorityJudge(judges)
    if name == "oracle":
        return OracleJudge()
    if name == "rules":
        return RulesJudge(harm_model, harm_threshold)
    if name == "model":
        if model is None or template is None:
            raise InputError(
                "judge 'model' needs the model's directory or hub name and a template, such as wildguard"
            )
        from sear_core.judges.model_judge import load_model_judge

        return load_model_judge(model, template, threshold=harm_threshold, **loading)
    from sear_core.judges.learnt import ClassifierJudge, HarmOnlyJudge

    if name == "harm-classifier":
        return HarmOnlyJudge(threshold=harm_threshold)
    return ClassifierJudge(name, threshold=harm_threshold)
