"""A collapse noticed while it happens, from running means of the rollouts. Our choice; see METHOD's named dynamics:
once all completions of a kind agree, groups have no variance and the policy stays where it is.

    all_refused         hardly any harmless or ambiguous prompt is answered: h above FAILING_MEAN (a plain refusal
                        has ½ at most)
    all_complied        hardly any harmful prompt's answer is safe: p_harm below ½
    no_end_of_thinking  `</think>` does not come
    malformed           most completions have no format, for whatever reason
    kl_runaway          the mean KL per token to the starting model passes a limit (where a KL is computed)

By the reward models' scores, never the oracle's: a policy that hacks its rewards is not noticed here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from sear_core.policy.advantages import FAILING_MEAN
from sear_core.policy.rollouts import Rollout
from sear_core.schema import CATEGORIES

# name: (statistic, lowest healthy value); our choice: far below what any warm start worth training shows
_LEAST = {
    "all_refused": ("answered", 0.1),
    "all_complied": ("defended", 0.1),
    "no_end_of_thinking": ("closed", 0.25),
    "malformed": ("well_formed", 0.25),
}
NAMES = (*_LEAST, "kl_runaway")


def statistics(rollout: Rollout) -> dict[str, float]:
    """Shares among completions, NaN where none is of the kind: answered (of well-formed ones to harmless and
    ambiguous prompts), defended (of well-formed ones to harmful prompts), closed, well_formed. Those behind a
    borrowed reasoning do not count: they say nothing of how the policy thinks by itself."""
    rollout = rollout.map(lambda x: x[~rollout.borrowed])
    harmful = rollout.category == CATEGORIES.index("harmful")
    scored = rollout.well_formed & ~rollout.reward.isnan()
    return {
        "answered": _share(rollout.reward[scored & ~harmful] > FAILING_MEAN),
        "defended": _share(rollout.p_harm[scored & harmful] < 0.5),
        "closed": _share(rollout.closed),
        "well_formed": _share(rollout.well_formed),
    }


def _share(x) -> float:  # type: ignore[no-untyped-def]
    return x.double().mean().item() if x.numel() else math.nan


@dataclass
class CollapseWatch:
    """Running means (exponential, `decay` per generation) held against their limits, after `warm_up` generations.

    `means`, `seen` and `found` are the only state; whoever resumes restores them.
    """

    kl_limit: float = 1.0  # nats per token
    decay: float = 0.9
    warm_up: int = 10
    means: dict[str, float] = field(default_factory=dict)
    seen: int = 0
    found: dict[str, dict[str, int | None]] = field(default_factory=dict)  # name: updates {"from", "to"}

    def update(self, now: dict[str, float], step: int) -> list[str]:
        """Take in one generation's statistics (and "kl", where there is one); the collapses that begin with it."""
        self.seen += 1
        for name, value in now.items():
            if math.isfinite(value):
                old = self.means.get(name)
                self.means[name] = value if old is None else self.decay * old + (1 - self.decay) * value
        if self.seen < self.warm_up:
            return []
        begun = []
        for name in NAMES:
            was = name in self.found and self.found[name]["to"] is None
            if self._is(name) and not was:
                first = self.found.get(name, {}).get("from")
                self.found[name] = {"from": step if first is None else first, "to": None}
                begun.append(name)
            elif was and not self._is(name):
                self.found[name]["to"] = step  # it recovered
        return begun

    @property
    def present(self) -> list[str]:
        """The collapses that have begun and not ended."""
        return [name for name, span in self.found.items() if span["to"] is None]

    def _is(self, name: str) -> bool:
        if name == "kl_runaway":
            return self.means.get("kl", 0.0) > self.kl_limit
        statistic, least = _LEAST[name]
        return self.means.get(statistic, math.inf) < least

    def state(self) -> dict:
        return {"means": self.means, "seen": self.seen, "found": self.found}

    def restore(self, state: dict) -> None:
        self.means, self.seen, self.found = state["means"], state["seen"], state["found"]
