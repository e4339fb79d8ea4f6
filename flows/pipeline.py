"""The DAG, declared once: the flow runs it, `sear plan` reads it.

version ─► prepare ─► validate ─┬─► warm_start ─┬─► policy.<arm> ─► evaluation.<arm> ─┐
                                └─► reward_model┘   (warm start)  ─► evaluation.sft ──┴─► compare ─┬─► report
                                                                                                   └─► register
With `evaluation.shards` there are stages generation.<arm>.<phase>.<shard> in front of evaluation.<arm>.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from flows.config import PipelineConfig
from sear_core.errors import InputError
from tasks import data, evaluation, policy, registry, report, reward_model, validation, warm_start
from tasks.stage import Stage
from tasks.tracking import is_remote

SFT = "sft"


def stages(config: PipelineConfig, tracking_uri: str = "sqlite:///") -> list[Stage]:
    """All stages of a run in an order in which each comes after what it needs."""
    seed = config.seed
    data_seed = seed if config.data.seed is None else config.data.seed
    rl_arms = [arm for arm in config.arms if arm != SFT]
    arms = [SFT, *rl_arms]
    show_reasoning = config.report.reasoning == "always" or (
        config.report.reasoning == "auto" and not is_remote(tracking_uri)
    )
    dag = [
        data.version_stage(config.data),
        data.prepare_stage(config.data, data_seed),
        validation.stage(config.validation),
        warm_start.stage(config.warm_start, seed),
        reward_model.stage(config.reward_model, seed),
    ]
    dag += [policy.stage(arm, config.policy_of(arm), config.warm_start.model, seed) for arm in rl_arms]
    for arm in arms:
        whole = evaluation.stage(
            arm, config.evaluation, config.warm_start.model, seed,
            model="warm_start" if arm == SFT else f"policy.{arm}",
            policy=config.policy if arm == SFT else config.policy_of(arm),
        )  # fmt: skip
        dag += evaluation.sharded(whole, config.evaluation.shards)
    dag += [
        evaluation.champion_stage(config.evaluation, config.warm_start.model, seed, config.policy.max_steps,
                                  config.experiment, config.gate.candidate),
        report.compare_stage(arms, config.gate, reward_model.floors(config.reward_model), seed),
        report.report_stage(arms, config.shaping(), config.evaluation.transcripts, show_reasoning),
        registry.stage(config.gate.candidate, config.experiment, config.gate.approval),
    ]  # fmt: skip
    return dag


@dataclass(frozen=True)
class Node:
    """A stage at its place in a DAG of one or several runs; `needs`: the stage's need -> the node that has it."""

    id: str
    stage: Stage
    needs: dict[str, str]


def merge(dags: Iterable[list[Stage]]) -> tuple[list[Node], list[dict[str, str]]]:
    """Several runs' DAGs as one, in which stages of the same section and the same inputs are one node.

    Returns the nodes, each after what it needs, and for each DAG {stage name: node id}.
    """
    nodes: dict[str, Node] = {}
    places: list[dict[str, str]] = []
    for dag in dags:
        ids: dict[str, str] = {}
        for stage in dag:
            needs = {need: ids[need] for need in stage.needs}
            text = json.dumps(
                [stage.name, stage.module, stage.section, sorted(needs.items())], sort_keys=True
            )
            ids[stage.name] = f"{stage.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
            nodes.setdefault(ids[stage.name], Node(ids[stage.name], stage, needs))
        places.append(ids)
    return list(nodes.values()), places


def select(dag: list[Stage], name: str, flag: str) -> list[Stage]:
    """The stages a name means: itself, or `policy` for every `policy.<arm>`; an evaluation with its shards."""
    found = [
        stage
        for stage in dag
        if any(own == name or own.startswith(f"{name}.") for own in (stage.name, stage.shard_of))
    ]
    if not found:
        raise InputError(
            f"{flag} {name!r}: no such stage; there are: " + ", ".join(stage.name for stage in dag)
        )
    return found


def descendants(dag: list[Stage], names: Iterable[str]) -> frozenset[str]:
    """Those stages and all that hang on them."""
    found = set(names)
    for stage in dag:
        if found.intersection(stage.needs):
            found.add(stage.name)
    return frozenset(found)


@dataclass(frozen=True)
class Selection:
    """What part of the DAG a call asks for."""

    dag: list[Stage]
    force: frozenset[str]


def selection(
    config: PipelineConfig, tracking_uri: str, start: str | None, until: str | None, fresh: bool
) -> Selection:
    """Apply `--from`, `--until` and `--fresh`: from a stage on all is computed anew; fresh: all of it."""
    dag = stages(config, tracking_uri)
    force: frozenset[str] = frozenset()
    if fresh:
        force = frozenset(stage.name for stage in dag)
    if start is not None:
        force |= descendants(dag, [stage.name for stage in select(dag, start, "--from")])
    if until is not None:
        last = {stage.name for stage in select(dag, until, "--until")}
        needed: set[str] = set()
        for stage in reversed(dag):
            if stage.name in last | needed:
                needed |= {stage.name, *stage.needs}
        dag = [stage for stage in dag if stage.name in needed]
        if start is not None and not force.intersection(needed):
            raise InputError(
                f"--from {start!r} lies behind --until {until!r}: nothing would be computed anew"
            )
    return Selection(dag, force)
