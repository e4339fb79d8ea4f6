"""Arms × seeds × shares."""

from __future__ import annotations

from typing import Any

from tasks.config.base import Section

Seeds = int | list[int]  # 5: the seeds 0 to 4


class VariantConfig(Section):
    """An arm of a study that differs from another one: `[study.variants.NAME]`, sections as in the config itself."""

    arm: str = "sear"  # what it differs from
    seeds: Seeds | None = None  # None: study.seeds
    data: dict[str, Any] = {}
    warm_start: dict[str, Any] = {}
    reward_model: dict[str, Any] = {}
    policy: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}


class StudyConfig(Section):
    """Arms × seeds × shares of harmful prompts (`sear study`). Read by no stage of a member."""

    seeds: Seeds = 5  # of an arm that states none
    arms: dict[str, Seeds] = {}  # arm -> its seeds; empty: the warm start and the top-level `arms`
    variants: dict[str, VariantConfig] = {}
    baseline: str = "grpo"  # what the others' differences are to
    shares: list[float] = []  # policy.harmful_share, the main one first; empty: that of the config alone
    share_arms: list[str] = []  # arms that are run at every share; empty: all but the warm start
    share_seeds: Seeds | None = None  # at the further shares; None: as at the first
