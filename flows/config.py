"""The whole config: defaults < preset or file < `--set`. TOML, typed, unknown keys are errors.

A file or preset may begin with `extends = "demo"` and state its differences alone.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from flows.source_presets import expand
from sear_core.errors import InputError
from tasks.config import (
    DataConfig,
    EvaluationConfig,
    GateConfig,
    PolicyConfig,
    ReportConfig,
    RetrainConfig,
    RewardModelConfig,
    Section,
    StageLimits,
    StudyConfig,
    ValidationConfig,
    WarmStartConfig,
)  # fmt: skip

PRESETS = Path(__file__).parent / "presets"

# An arm is a few lines of difference (METHOD: the control arms go through the same trainer, data and budget).
ARMS: dict[str, dict[str, Any]] = {
    "sft": {},
    "grpo": {"credit": "answer"},
    "grpo_sum": {"credit": "sum"},
    "sear_outcome": {"credit": "outcome"},
    "sear": {"credit": "return"},
    "recap": {"credit": "answer", "recap_share": 0.5},
}


# How a run is carried out; nothing of it may change a result, and no cache key holds it.
INFRASTRUCTURE = {"launcher", "workers", "runner", "study", "limits", "retrain"}

# The stages of a run, policy and evaluation for those of every arm: what `[limits.STAGE]` may name.
STAGES = (
    "version", "prepare", "validate", "warm_start", "reward_model", "policy", "evaluation", "champion", "compare",
    "report", "register",
)  # fmt: skip


class RunnerConfig(Section):
    """What carries heavy stages that run side by side (docs/scaling.md)."""

    kind: Literal["threads", "dask", "ray"] = "threads"  # threads: each drives a child process of this one
    address: str | None = None  # of a running cluster; None: `workers` processes, here, as long as the run
    gpus: float = Field(0, ge=0)  # of each heavy stage, as the cluster counts them
    threads: int | None = Field(
        None, ge=1
    )  # of torch in a heavy stage; None: cores ÷ workers, where they are ours

    @model_validator(mode="after")
    def _of_a_cluster(self) -> RunnerConfig:
        if self.kind == "threads" and (self.address is not None or self.gpus):
            raise ValueError('runner: address and gpus are for kind = "dask" or "ray"')
        return self


class PipelineConfig(Section):
    """Everything that decides a run. `seed` decides all randomness."""

    seed: int = Field(0, ge=0, lt=2**32)  # what numpy takes
    experiment: str = Field("sear", pattern=r"^[\w. -]+$")  # also the registered model's name
    arms: list[str] = Field(default=["grpo", "sear"])  # beside the warm start, which is always evaluated
    launcher: Literal["inprocess", "process", "accelerate"] = "inprocess"
    workers: int = Field(1, ge=1)  # stages that run side by side; more than 1 needs child processes
    runner: RunnerConfig = RunnerConfig()
    limits: dict[str, StageLimits] = Field(
        default_factory=dict
    )  # [limits.policy]: of all arms; or a stage's name
    data: DataConfig = DataConfig()
    validation: ValidationConfig = ValidationConfig()
    warm_start: WarmStartConfig = WarmStartConfig()
    reward_model: RewardModelConfig = RewardModelConfig()
    policy: PolicyConfig = PolicyConfig()
    arm: dict[str, dict[str, Any]] = Field(default_factory=dict)  # [arm.NAME]: differences from [policy]
    evaluation: EvaluationConfig = EvaluationConfig()
    gate: GateConfig = GateConfig()
    report: ReportConfig = ReportConfig()
    retrain: RetrainConfig = RetrainConfig()
    study: StudyConfig = StudyConfig()

    @model_validator(mode="after")
    def _arms_exist(self) -> PipelineConfig:
        if self.workers > 1 and self.launcher == "inprocess":
            raise ValueError(f'workers = {self.workers} needs launcher = "process" or "accelerate"')
        if self.runner.kind != "threads" and self.launcher == "inprocess":
            raise ValueError(f'runner.kind = "{self.runner.kind}" needs launcher = "process" or "accelerate"')
        known = {**ARMS, **self.arm}
        for name in self.arms:
            if name not in known:
                raise ValueError(f"arm {name!r} does not exist{nearest(name, known)}")
        for name in self.limits:
            noun, _, arm = name.partition(".")
            if noun not in STAGES or (noun == "policy" and arm and arm not in {*known, *self.study.variants}):
                raise ValueError(
                    f"limits: {name!r} is no stage{nearest(name, STAGES)}; there are: "
                    f"{', '.join(STAGES)}, and policy.ARM, evaluation.ARM"
                )
        if "sft" in self.arm:
            raise ValueError("arm.sft: the warm start alone has no policy to change; expected [warm_start]")
        for name in (*self.arm, *self.study.variants):
            if not re.fullmatch(r"[\w-]+", name):  # part of stage, folder and metric names
                raise ValueError(f"arm {name!r}: expected letters, digits, _ and - in its name")
        if len(set(self.arms)) != len(self.arms):
            raise ValueError(f"an arm is named twice in {self.arms}")
        for name in (*self.arms, *self.arm):
            self.policy_of(name)
        if self.gate.candidate not in ("sft", *self.arms):
            raise ValueError(f"gate.candidate {self.gate.candidate!r} is not among the arms {self.arms}")
        from flows.study_members import check_study

        check_study(self)
        return self

    def policy_of(self, arm: str) -> PolicyConfig:
        """The `[policy]` section with the arm's differences."""
        difference = {**ARMS.get(arm, {}), **self.arm.get(arm, {})}
        try:
            return PolicyConfig.model_validate({**self.policy.model_dump(), **difference})
        except ValidationError as error:
            raise ValueError(f"arm.{arm}: {say(error, PolicyConfig)}") from None

    def shaping(self) -> dict[str, Any]:
        """All that shapes the results: the config without INFRASTRUCTURE and the number of shards."""
        return self.model_dump(
            mode="json", exclude={**dict.fromkeys(INFRASTRUCTURE, True), "evaluation": {"shards"}}
        )

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(self.shaping(), sort_keys=True).encode()).hexdigest()


def presets() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_config(
    preset: str | None = None, file: Path | None = None, sets: list[str] | None = None
) -> PipelineConfig:
    """Read a preset or a file and apply `a.b=c` settings. Raises InputError naming file and key."""
    if file is not None and preset is not None:
        raise InputError("--preset and --config exclude each other")
    if file is None:
        name = "demo" if preset is None else preset
        file = PRESETS / f"{name}.toml"
        if name not in presets():
            raise InputError(f"preset {name!r} does not exist{nearest(name, presets())}; there are: "
                             + ", ".join(presets()))  # fmt: skip
    tree = _read(file)
    for setting in sets or []:
        _apply(tree, setting)
    section = tree.get("data")
    data: dict[str, Any] = section if isinstance(section, dict) else {}
    # `[[data.more_sources]]`: behind the sources of the preset, where `[[data.sources]]` stands in their place
    sources, more = data.get("sources", []), data.pop("more_sources", [])
    if isinstance(sources, list) and isinstance(more, list) and (sources or more):
        data["sources"] = [expand(source) for source in [*sources, *more]]
    try:
        return PipelineConfig.model_validate(tree)
    except ValidationError as error:
        raise InputError(f"{file.name}: {say(error, PipelineConfig)}") from None


def _read(file: Path) -> dict[str, Any]:
    """A TOML file; with `extends = "PRESET"` it is laid over that preset, table by table (lists are replaced)."""
    try:
        text = file.read_text(encoding="utf-8")
        tree = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)  # a run's config.json
    except FileNotFoundError:
        raise InputError(f"{file}: no such config file") from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not valid {file.suffix[1:].upper() or 'TOML'}: {error}") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from None
    if not isinstance(tree, dict):
        raise InputError(f"{file}: a {type(tree).__name__}, expected an object of config sections")
    base = tree.pop("extends", None)
    if base is None:
        return tree
    parent = PRESETS / f"{base}.toml"
    if not isinstance(base, str) or not parent.is_file() or parent == file.resolve():
        raise InputError(
            f"{file}: extends {base!r}, which is no other preset; there are: " + ", ".join(presets())
        )
    return merge_tables(_read(parent), tree)


def merge_tables(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Two TOML trees laid over each other, table by table; lists are replaced."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge_tables(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _apply(tree: dict[str, Any], setting: str) -> None:
    """Apply one `a.b=c`; c is a TOML value, or a bare string."""
    name, separator, text = setting.partition("=")
    if not separator or not all(part.strip() for part in name.split(".")):
        raise InputError(f"--set {setting!r}: expected KEY=VALUE, such as policy.updates=50")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = name.strip().split(".")
    node: Any = tree
    for part in parents:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise InputError(f"--set {setting!r}: {part!r} is a value, not a section")
    node[last] = value


def nearest(name: str, known: Any) -> str:
    """`; did you mean 'x'?`, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


def _fields_at(model: Any, location: tuple[Any, ...]) -> list[str]:
    """The known keys where an unknown one stands."""
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next((c for c in candidates if hasattr(c, "model_fields")), None)
        if model is None:
            return []
    return list(model.model_fields)


def say(error: ValidationError, model: Any) -> str:
    """The first few errors of a config in one paragraph: key, what is wrong, what was expected."""
    parts = []
    for item in error.errors()[:3]:
        location = item["loc"]
        key = ".".join(str(part) for part in location)
        if item["type"] == "extra_forbidden":
            known = _fields_at(model, location[:-1])
            parts.append(f"unknown key {key!r}{nearest(str(location[-1]), known)}")
        else:
            message = item["msg"].removeprefix("Value error, ")
            parts.append(f"{key}: {message} (got {item['input']!r})" if key and item["type"] != "value_error"
                         else f"{key + ': ' if key else ''}{message}")  # fmt: skip
    more = f" (and {error.error_count() - 3} more)" if error.error_count() > 3 else ""
    return "; ".join(parts) + more
