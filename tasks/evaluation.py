"""Stage *evaluate*: both sides of the trade-off, without attack and under each, for one model.

The model is another stage's (`stage`), any directory or hub name (`external_stage`), or none at all: a finished
evaluation's completions are judged anew (`rejudge_stage`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from sear_core.errors import InputError
from sear_core.judges.names import needs_harm_model, weights_of
from tasks.cache import Store, md5_file
from tasks.config import EvaluationConfig, JudgeConfig, ModelConfig, PolicyConfig
from tasks.handles import EvalReport, Handle
from tasks.model_state import model_state
from tasks.stage import Job, RunContext, Stage, finite, run_stage
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.model_registry import Registered

ESSENTIAL = ("metrics.json", "completions.parquet")
REWARDS = {"reference_refusal", "safe_snap", "coherent_from"}
ARTIFACTS = ("metrics.json", "rewards.json", "slices.json", "curves.json", "evaluation.json")


def _stage(
    arm: str, config: EvaluationConfig, more: dict[str, Any], needs: tuple[str, ...], compute: str
) -> Stage:
    needs_harm = ("reward_model",) if needs_harm_model(config.judge.kind) else ()
    return Stage(
        name=f"evaluation.{arm}", module=__name__, handle=EvalReport, compute=compute, state="outside_state",
        section=config.model_dump(mode="json", exclude={"transcripts", "shards"}) | more,
        needs=tuple(dict.fromkeys((*needs, *needs_harm))),
        libraries=("training",), essential=ESSENTIAL, artifacts=ARTIFACTS, arm=arm, heavy=True,
    )  # fmt: skip


def stage(
    arm: str, config: EvaluationConfig, model_config: ModelConfig, seed: int, model: str, policy: PolicyConfig
) -> Stage:
    """`model`: the stage whose model is evaluated; `policy`: its cap on reasoning steps, and its answer reward."""
    more = {
        "seed": seed, "trust_remote_code": model_config.trust_remote_code, "dtype": model_config.dtype,
        "max_steps": policy.max_steps, "rewards": policy.model_dump(mode="json", include=REWARDS),
    }  # fmt: skip
    return _stage(arm, config, more, ("prepare", "warm_start", "reward_model", model), "compute")


def external_stage(
    label: str, config: EvaluationConfig, model_config: ModelConfig, seed: int, max_steps: int
) -> Stage:
    """A model of one's own: `model_config` names its directory or hub name."""
    more = {
        "seed": seed, "max_steps": max_steps,
        "model": model_config.model_dump(mode="json", include={"path", "revision", "trust_remote_code", "dtype"}),
    }  # fmt: skip
    return _stage(label, config, more, ("prepare",), "compute")


def rejudge_stage(label: str, config: EvaluationConfig, source: Path, max_steps: int) -> Stage:
    """A finished evaluation's directory, judged anew by the config's judge."""
    section = EvaluationConfig(judge=config.judge)
    return _stage(label, section, {"source": str(source), "max_steps": max_steps}, (), "compute_rejudge")


def sharded(whole: Stage, shards: int) -> list[Stage]:
    """An evaluation behind the stages that generate its completions side by side; of one shard: the evaluation alone.

    Attacks may force the reasoning written without attack (sear_core/evaluation/asking.py), so they come after it.
    """
    if shards == 1:
        return [whole]
    attacked = any(whole.section[key] for key in ("attacks", "artifacts", "reasoning_use"))
    dag: list[Stage] = []
    before: tuple[str, ...] = ()
    for phase in ("none", "attacks") if attacked else ("none",):
        names = tuple(
            f"generation.{whole.name.partition('.')[2]}.{phase}.{index}" for index in range(1, shards + 1)
        )
        dag += [
            replace(
                whole, name=name, handle=Handle, compute="compute_shard", essential=(), artifacts=(),
                shard_of=whole.name, section=whole.section | {"shard": {"phase": phase, "index": index, "of": shards}},
                needs=(*whole.needs, *before), unkeyed=before,
            )
            for index, name in enumerate(names, start=1)
        ]  # fmt: skip
        before = names
    return [*dag, replace(whole, needs=(*whole.needs, *before), unkeyed=before)]


def champion_stage(
    config: EvaluationConfig, model_config: ModelConfig, seed: int, max_steps: int, model: str, candidate: str
) -> Stage:
    """The champion of the registered model `model` on the candidate's prompts, for the gate; nothing where none is."""
    more = {
        "seed": seed, "trust_remote_code": model_config.trust_remote_code, "dtype": model_config.dtype,
        "max_steps": max_steps, "registered": model, "candidate": candidate,
    }  # fmt: skip
    twin = _stage("", config, more, ("prepare", f"evaluation.{candidate}"), "compute_champion")
    return replace(twin, name="champion", state="champion_state", essential=(*ESSENTIAL, "champion.json"))


def champion_state(stage: Stage, inputs: Mapping[str, Handle], workspace: Workspace) -> dict[str, str]:
    """Which champion the candidate meets. Where it is the candidate itself: the one it was promoted over.

    So an unchanged rerun of the run that promoted its own model finds its decision again.
    """
    rival, _, _ = _champion(stage.section, inputs, workspace.root, workspace.tracking_uri)
    return outside_state(stage, inputs, workspace) | {"champion": rival}


def outside_state(stage: Stage, inputs: Mapping[str, Handle], workspace: Workspace) -> dict[str, str]:
    """Bytes that the section only names: an external model, completions, artifacts, the user's own attacks."""
    found = model_state(stage, inputs, workspace) if "model" in stage.section else {}
    judge = JudgeConfig.model_validate(stage.section["judge"])
    found |= {f"judge.{name}": md5 for name, md5 in weights_of(judge.kind).items()}
    named = {f"artifacts.{name}": Path(path) for name, path in stage.section["artifacts"].items()}
    named |= {name: _source_of(name) for name in stage.section["attacks"] if ":" in name}
    if "source" in stage.section:
        named["completions"] = Path(stage.section["source"]) / "completions.parquet"
    for name, path in named.items():
        if not path.expanduser().is_file():
            raise InputError(f"{name}: {path}: no such file")
        found[name] = md5_file(path.expanduser())
    return found


def _source_of(name: str) -> Path:
    module = name.partition(":")[0]
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise InputError(f"evaluation.attacks: {name!r}: no module {module!r} on Python's path")
    return Path(spec.origin)


def judge_of(job: Job) -> Any:
    """The judge that the job's section describes."""
    from sear_core.judges.build import build_judge

    config = JudgeConfig.model_validate(job.section["judge"])
    harm = None
    if needs_harm_model(config.kind):
        from sear_core.reward_model.harm import HarmModel

        harm = HarmModel.load(str(Path(job.inputs["reward_model"].path) / "harm"))
    return build_judge(config.kind, harm_model=harm, **config.options())


def asked_of(job: Job) -> dict[str, Any]:
    """What the core is asked, as keyword arguments. What shards have generated is laid among the job's own chunks."""
    from sear_core.schema import read_table

    others = ("judge", "suites", "model", "rewards", "shard", "reasoning_harmlessness", "max_steps")
    section = {key: value for key, value in job.section.items() if key not in others}
    if "model" in job.section:
        model = dict(job.section["model"])
        path = model.pop("path")
        section |= model
    else:
        trained = [handle for name, handle in job.inputs.items() if name.startswith("policy.")]
        path = str(Path((trained or [job.inputs["warm_start"]])[0].path) / "model")
    for name, handle in job.inputs.items():
        generated = Path(handle.path) / "chunks"
        if name.startswith("generation.") and generated.is_dir():
            shutil.copytree(generated, job.out / "chunks", dirs_exist_ok=True)
    return section | {
        "model_path": path, "suite_names": job.section["suites"], "chunks": job.out / "chunks",
        "rows": read_table("evaluation", Path(job.inputs["prepare"].path) / "tables"),
        "progress": lambda done, total, _: job.progress(done, total),
    }  # fmt: skip


def compute_shard(job: Job) -> dict[str, Any]:
    """Generate a shard of the completions: batches, for the evaluation to put together."""
    from sear_core.evaluation.asking import generate_shard

    generate_shard(**job.section["shard"], **asked_of(job))
    return {}


def compute(job: Job) -> dict[str, Any]:
    """Generate under every condition, judge, measure; completions are kept as Parquet."""
    from sear_core.evaluation.evaluate import evaluate_model

    metrics = evaluate_model(
        out=job.out, judge=judge_of(job), max_steps=job.section["max_steps"],
        reasoning_harmlessness=job.section["reasoning_harmlessness"], **asked_of(job),
    )  # fmt: skip
    if "rewards" in job.section:
        metrics = {**metrics, **_rewards(job)}
    return {"arm": job.arm, "metrics": finite(metrics)}


def _rewards(job: Job) -> dict[str, float]:
    """Whether the rewards that the policy was trained with still agree with the judge; rewards.json."""
    import pyarrow.parquet as pq

    from sear_core.evaluation.reward_agreement import answer_agreement, value_agreement
    from sear_core.reward_model.harm import HarmModel
    from sear_core.reward_model.helpfulness import HelpfulnessModel
    from tasks.stage import write_json

    folder = Path(job.inputs["reward_model"].path)
    harm, helpfulness = HarmModel.load(folder / "harm"), HelpfulnessModel.load(folder / "helpfulness")
    direct = [("condition", "=", "none")]
    records = pq.read_table(job.out / "completions.parquet", filters=direct).to_pylist()
    shared = (
        "max_steps",
        "max_new_tokens",
        "batch_size",
        "temperature",
        "seed",
        "trust_remote_code",
        "dtype",
    )
    found = answer_agreement(records, harm=harm, helpfulness=helpfulness, **job.section["rewards"])
    found |= value_agreement(
        records, harm=harm, judge=judge_of(job), folder=job.out / "forced",
        prover_path=str(Path(job.inputs["warm_start"].path) / "model"),
        **{name: job.section[name] for name in shared},
    )  # fmt: skip
    shutil.rmtree(job.out / "forced", ignore_errors=True)
    write_json(job.out / "rewards.json", found)
    return found


def _champion(
    section: Mapping[str, Any], inputs: Mapping[str, Handle], root: Path, uri: str
) -> tuple[str, Registered | None, Path | None]:
    """(whom the candidate meets, that version where the registry has it, its evaluation where the store holds it)."""
    from tasks import model_registry

    name = section["registered"]
    champion = model_registry.by_alias(uri, name, model_registry.CHAMPION)
    rival = model_registry.rival(champion, inputs[f"evaluation.{section['candidate']}"].md5)
    found = None if rival == "none" else model_registry.by_version(uri, name, rival.partition(" ")[0])
    if found is None:
        return rival, None, None
    # a judge that was trained in this run judges its own way
    given = {name: handle.md5 for name, handle in inputs.items() if not name.startswith("evaluation.")}
    workspace = Workspace(root)
    stored = Store(workspace.store, workspace.locks).holding(
        "evaluation.*", found.tags.get("evaluation.md5", ""), _measured(section), given
    )
    return rival, found, stored


def _measured(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in ("registered", "candidate")}


def compute_champion(job: Job) -> dict[str, Any]:
    """Evaluate the champion as the candidate was; an evaluation that the store still holds is taken.

    Where its files are gone the fault is written down and the gate stays closed: it is no failure of the run.
    """
    from tasks.serving import fetch, model_directory
    from tasks.stage import write_json

    assert job.log is not None
    rival, found, stored = _champion(job.section, job.inputs, job.root, job.log.client.tracking_uri)
    told = {"rival": rival, "version": "" if rival == "none" else rival.partition(" ")[0], "fault": ""}
    metrics: dict[str, float] = {}
    try:
        if stored is not None:
            shutil.copytree(stored, job.out, dirs_exist_ok=True)
            metrics = json.loads((job.out / "metrics.json").read_text())
        elif found is not None:
            folder = model_directory(fetch(found.source, f"{found.name} version {found.version}"))
            section = _measured(job.section)
            own = {"path": str(folder), **{key: section[key] for key in ("dtype", "trust_remote_code")}}
            metrics = compute(replace(job, section=section | {"model": own}))["metrics"]
        elif told["version"]:
            told["fault"] = f"version {told['version']} is not in the registry any more"
    except InputError as error:
        told["fault"] = str(error)
    write_json(job.out / "champion.json", told)
    return {"arm": "champion", "metrics": finite(metrics)}


def compute_rejudge(job: Job) -> dict[str, Any]:
    """Judge an evaluation's completions anew."""
    from sear_core.evaluation.evaluate import rejudge

    metrics = rejudge(
        source=Path(job.section["source"]),
        out=job.out,
        judge=judge_of(job),
        max_steps=job.section["max_steps"],
    )
    return {"arm": job.arm, "metrics": finite(metrics)}


@task(name="evaluate", cache_policy=NO_CACHE, persist_result=False)
def run(stage: Stage, inputs: Mapping[str, Handle], context: RunContext) -> Handle:
    """Generation, attacks, judging, metrics."""
    if stage.compute == "compute_champion":
        _, found, stored = _champion(stage.section, inputs, context.workspace.root, context.tracker.uri)
        if found is None or stored is not None:
            stage = replace(stage, heavy=False)  # nothing to generate: no process of its own
    return run_stage(stage, inputs, context)
