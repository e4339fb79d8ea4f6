"""Who takes part in a study: arms × seeds × shares of harmful prompts, and each member's config.

Members share the data (one data seed for all) and, within a seed, warm start and reward models: a member's config
differs from another's of its seed in the policy alone, so that the store's keys are the same up to there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from flows.config import ARMS, PipelineConfig, merge_tables, nearest, say
from sear_core.errors import InputError
from tasks.config import Seeds, StudyConfig, VariantConfig

SFT = "sft"
VARIED = (
    "data",
    "warm_start",
    "reward_model",
    "evaluation",
)  # sections that a variant may change beside policy


@dataclass(frozen=True)
class Wanted:
    """One member before it is run; `share` None: the data as the config has it."""

    arm: str
    seed: int
    share: float | None

    @property
    def name(self) -> str:
        share = "" if self.share is None else f", share {self.share:g}"
        return f"{self.arm}, seed {self.seed}{share}"


def seed_list(seeds: Seeds) -> list[int]:
    return list(range(seeds)) if isinstance(seeds, int) else list(dict.fromkeys(seeds))


def parse_seeds(text: str) -> Seeds:
    """`10` (the seeds 0 to 9), `0..9`, `0,3,5`. Raises InputError."""
    try:
        if ".." in text:
            first, _, last = text.partition("..")
            found: Seeds = list(range(int(first), int(last) + 1))
        elif "," in text:
            found = [int(part) for part in text.split(",") if part.strip()]
        else:
            found = int(text)
    except ValueError:
        found = []
    if not seed_list(found) or min(seed_list(found)) < 0:
        raise InputError(f"--seeds {text!r}: expected a number such as 10, a range such as 0..9, or 0,3,5")
    return found


def parse_shares(text: str) -> list[float]:
    """`.25,.4`. Raises InputError."""
    try:
        shares = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        shares = []
    if not shares or not all(0 < share < 1 for share in shares):
        raise InputError(f"--shares {text!r}: expected shares between 0 and 1 such as .25,.4")
    return list(dict.fromkeys(shares))


def chosen(
    config: PipelineConfig, arms: str | None = None, seeds: str | None = None, shares: str | None = None,
    baseline: str | None = None,
) -> PipelineConfig:  # fmt: skip
    """The config with the command's choice of arms, seeds, shares and baseline in `[study]`. Raises InputError."""
    study = config.study
    known = {**ARMS, **config.arm, **study.variants}
    table = study.arms or dict.fromkeys([SFT, *(arm for arm in config.arms if arm != SFT)], study.seeds)
    table |= {
        name: study.seeds if variant.seeds is None else variant.seeds
        for name, variant in study.variants.items()
    }
    if arms is not None:
        names = [name.strip() for name in arms.split(",") if name.strip()]
        for name in names:
            if name not in known:
                raise InputError(f"--arms: arm {name!r} does not exist{nearest(name, known)}")
        table = {name: table.get(name, study.seeds) for name in names}
    if seeds is not None:
        table = dict.fromkeys(table, parse_seeds(seeds))
    changes: dict[str, Any] = {"arms": table}
    if shares is not None:
        changes |= {"shares": parse_shares(shares), "share_arms": []}
    if seeds is not None:
        changes["share_seeds"] = None
    trained = [name for name in table if name != SFT]
    wanted = baseline or (study.baseline if len(table) > 1 or not table else next(iter(table)))
    if wanted not in table:
        raise InputError(
            f"baseline {wanted!r} is not among the arms {', '.join(table)}; --baseline names one"
        )
    if study.share_arms and shares is None:
        changes["share_arms"] = [name for name in study.share_arms if name in trained]
    changed = study.model_copy(update=changes | {"baseline": wanted})
    return config.model_copy(update={"study": changed})


def members(config: PipelineConfig) -> list[Wanted]:
    """All members, seed by seed, so that a seed's shared stages are done when its arms come. Raises InputError.

    The warm start does not depend on the share of harmful RL prompts: it takes part at the first share alone.
    """
    study = config.study
    shares: list[float | None] = list(study.shares) or [None]
    swept = set(study.share_arms or study.arms) - {SFT}
    found = [
        Wanted(arm, seed, share)
        for arm, seeds in study.arms.items()
        for place, share in enumerate(shares)
        if place == 0 or arm in swept
        for seed in seed_list(seeds if place == 0 or study.share_seeds is None else study.share_seeds)
    ]
    if not found:
        raise InputError("study: no member; expected arms and seeds in [study] or on the command")
    order = list(study.arms)
    place_of = {share: place for place, share in enumerate(shares)}
    return sorted(found, key=lambda m: (m.seed, place_of[m.share], order.index(m.arm)))


def member_config(config: PipelineConfig, member: Wanted) -> PipelineConfig:
    """The config of one member: a run of one arm. Raises ValueError where a variant is impossible."""
    tree = config.model_dump(mode="json", exclude={"study"})
    variant = config.study.variants.get(member.arm)
    if variant is not None:
        tree = _varied(tree, config, member.arm, variant)
    tree["data"]["seed"] = config.seed if config.data.seed is None else config.data.seed
    if member.share is not None and member.arm != SFT:
        arm = {**tree["arm"].get(member.arm, {}), "harmful_share": member.share}
        tree["arm"] = {**tree["arm"], member.arm: arm}
    tree |= {"seed": member.seed, "arms": [] if member.arm == SFT else [member.arm]}
    tree["gate"]["candidate"] = member.arm
    try:
        return PipelineConfig.model_validate(tree)
    except ValidationError as error:
        raise ValueError(say(error, PipelineConfig)) from None


def _varied(
    tree: dict[str, Any], config: PipelineConfig, name: str, variant: VariantConfig
) -> dict[str, Any]:
    for section in VARIED:
        tree[section] = merge_tables(tree[section], getattr(variant, section))
    policy = {**ARMS.get(variant.arm, {}), **config.arm.get(variant.arm, {}), **variant.policy}
    return {**tree, "arm": {**tree["arm"], name: policy}}


def check_study(config: PipelineConfig) -> None:
    """Every arm exists and every variant makes a possible config. Raises ValueError naming the key."""
    study: StudyConfig = config.study
    known = {**ARMS, **config.arm}
    for name, variant in study.variants.items():
        if name in known:
            raise ValueError(f"study.variants.{name}: an arm has that name")
        if variant.arm not in known or variant.arm == SFT:
            raise ValueError(
                f"study.variants.{name}.arm {variant.arm!r} does not exist{nearest(variant.arm, known)}"
            )
    everyone = {**known, **study.variants}
    for key, names in (("arms", study.arms), ("share_arms", study.share_arms)):
        for name in names:
            if name not in everyone:
                raise ValueError(f"study.{key}: arm {name!r} does not exist{nearest(name, everyone)}")
    if not all(0 < share < 1 for share in study.shares):
        raise ValueError(f"study.shares {study.shares}: expected shares between 0 and 1")
    for key, seeds in _all_seeds(study):
        if not seed_list(seeds) or not all(0 <= seed < 2**32 for seed in seed_list(seeds)):
            raise ValueError(f"study.{key}: seeds {seeds!r}; expected a number above 0, or a list of seeds")
    for name in study.variants:
        try:
            member_config(config, Wanted(name, 0, None))
        except ValueError as error:
            raise ValueError(f"study.variants.{name}: {error}") from None


def _all_seeds(study: StudyConfig) -> Iterable[tuple[str, Seeds]]:
    yield "seeds", study.seeds
    yield from ((f"arms.{name}", seeds) for name, seeds in study.arms.items())
    yield from ((f"variants.{n}.seeds", v.seeds) for n, v in study.variants.items() if v.seeds is not None)
    if study.share_seeds is not None:
        yield "share_seeds", study.share_seeds
