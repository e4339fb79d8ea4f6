"""What a model is tried on, and who judges."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from sear_core.errors import InputError
from sear_core.judges.names import check_judge
from tasks.config.base import Section


class JudgeConfig(Section):
    """kind: oracle, rules, classifier, rules+classifier, model, first:A,B … or majority:A,B,C … (judges/names.py)."""

    kind: str = "oracle"
    harm_threshold: float = Field(0.5, gt=0, lt=1)  # p_harm from here up is harmful
    model: str | None = None  # for "model": a directory or hub name
    template: str | None = None  # for "model": wildguard, llama_guard, harmbench, strongreject, xstest
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    trust_remote_code: bool = False
    backend: Literal["transformers", "vllm"] = "transformers"

    @model_validator(mode="after")
    def _known(self) -> JudgeConfig:
        parts = self.kind.partition(":")[2].split(",") if ":" in self.kind else [self.kind]
        try:
            check_judge(self.kind)
        except InputError as error:
            raise ValueError(str(error)) from None
        if "model" in parts and (self.model is None or self.template is None):
            raise ValueError('kind "model" needs `model`, a directory or hub name, and `template`')
        return self

    def options(self) -> dict[str, Any]:
        """Arguments of `build_judge` beside the name."""
        found = {"harm_threshold": self.harm_threshold}
        if "model" not in self.kind:
            return found
        return found | self.model_dump(exclude={"kind", "harm_threshold"})


def _attack_name(name: str) -> str:
    from sear_core.evaluation.attacks import ATTACKS, NONE  # light, but not needed by every config

    known = [NONE.name, *ATTACKS]
    if ":" not in name and name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"unknown attack; did you mean {near!r}? Known: {', '.join(known)}, or module:object of your own"
        )
    return name


class EvaluationConfig(Section):
    """What a model is tried on: suites of the evaluation table, attacks at their strengths, a judge."""

    judge: JudgeConfig = JudgeConfig()
    suites: list[str] = []  # of the evaluation table; empty: all of them
    attacks: list[Annotated[str, AfterValidator(_attack_name)]] = [
        "harmful_prefill",
        "benign_hijack",
        "answer_prefill",
    ]
    strengths: dict[str, list[Annotated[int, Field(ge=1)]]] = {}  # attack -> further strengths: a curve
    artifacts: dict[str, str] = {}  # name -> JSON file of JailbreakBench's format: an attack of that name
    reasoning_use: bool = True  # also with no reasoning and with another prompt's
    reasoning_harmlessness: bool = False  # the share of reasonings without a harmful step, too
    limit: int | None = Field(None, gt=0)  # prompts per category, chosen by content hash
    batch_size: int = Field(128, gt=0)
    shards: int = Field(1, ge=1, le=256)  # stages that share the generation, of every arm; shapes no result
    max_new_tokens: int = Field(96, gt=0)
    temperature: float = Field(0.0, ge=0)  # 0: greedy
    samples: int = Field(1, ge=1)
    harmful_prefill_steps: int = Field(2, gt=0)
    transcripts: int = Field(20, ge=0)  # sample transcripts per arm in the report

    @model_validator(mode="after")
    def _strengths_are_of_attacks(self) -> EvaluationConfig:
        for name in self.strengths:
            if name not in (*self.attacks, *self.artifacts):
                raise ValueError(f"evaluation.strengths: {name!r} is not among the attacks {self.attacks}")
        return self

    @model_validator(mode="after")
    def _samples_differ(self) -> EvaluationConfig:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"evaluation.samples = {self.samples} with temperature 0: greedy samples are all the same"
            )
        return self
