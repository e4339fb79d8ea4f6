"""Which split a row belongs to, and which RL prompts are trained on.

Both are decided by content hashes: adding a row to a source moves no other row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sear_core.data.dedup import content_hash, unit
from sear_core.errors import InputError

Row = dict


def split_of(row: Row, table: str, validation_share: float) -> str:
    """The split of a row.

    A row whose source fixed its split keeps it; evaluation is `test`; else a row is `validation` where the
    hash of its group (the canonical prompt, mostly) falls below the share. The hash knows neither table nor
    seed: a prompt is on the same side in every table and in every run.
    """
    if table == "evaluation":
        return "test"
    if not row["split"]:
        return "validation" if unit(content_hash(row["_group"])) < validation_share else "train"
    if row["split"] == "test":
        raise InputError(f"row {row['id']!r}: split 'test' in the table {table}; only evaluation has it")
    return row["split"]


def mix(
    ids: Sequence[str],
    categories: Sequence[str],
    *,
    total: int | None,
    harmful_share: float | None,
    seed: int,
    harmless_per_ambiguous: float = 1.0,
    weights: Sequence[float] | None = None,
) -> list[int]:
    """Choose RL prompts, by position: `total` rows, a share of them harmful, the rest harmless and ambiguous.

    The proportions are TARS's (arXiv 2507.00971 §3): harmless : ambiguous is `harmless_per_ambiguous` : 1, and
    where one kind is too few for that the other fills up. Without a total it is as large as the share allows;
    with one that cannot be reached at the share, likewise. A row of weight w is taken before others as often as
    if it stood there w times (Efraimidis and Spirakis 2006, the random numbers being content hashes). Raises
    InputError where a share is given and a side has no row.
    """

    def turn(position: int) -> tuple[float, str]:
        digest = content_hash(seed, ids[position])
        weight = 1.0 if weights is None else weights[position]
        return (-math.log1p(-unit(digest)) / weight, digest)  # of equal weights: by the hash

    ordered = sorted(range(len(ids)), key=turn)
    if harmful_share is None:
        return ordered if total is None else ordered[:total]
    by_category: dict[str, list[int]] = {"harmful": [], "harmless": [], "ambiguous": []}
    for position in ordered:
        by_category[categories[position]].append(position)
    harmful, harmless, ambiguous = by_category.values()
    if not harmful or not (harmless or ambiguous):
        raise InputError(
            f"data.harmful_share = {harmful_share}: the RL prompts are {len(harmful)} harmful and "
            f"{len(harmless) + len(ambiguous)} others, expected some of each"
        )
    reachable = int(
        min(len(harmful) / harmful_share, (len(harmless) + len(ambiguous)) / (1 - harmful_share)) + 1e-9
    )
    size = reachable if total is None else min(total, reachable)
    n_harmful = round(size * harmful_share)
    others = size - n_harmful
    n_ambiguous = min(len(ambiguous), max(int(others / (1 + harmless_per_ambiguous)), others - len(harmless)))
    n_harmless = min(len(harmless), others - n_ambiguous)
    return harmful[:n_harmful] + harmless[:n_harmless] + ambiguous[:n_ambiguous]
