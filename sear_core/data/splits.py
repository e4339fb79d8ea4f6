"""Which split a row belongs to, and which RL prompts are trained on.

Both are decided by content hashes: adding a row to a source moves no other row.
"""

from __future__ import annotations

from sear_core.data.dedup import content_hash, unit
from sear_core.errors import InputError

Row = dict


def assign_splits(rows: list[Row], table: str, validation_share: float) -> None:
    """Give every row its split, in place.

    A row whose source fixed its split keeps it; evaluation is `test`; else a row is `validation` where the
    hash of its group (the canonical prompt, mostly) falls below the share. The hash knows neither table nor
    seed: a prompt is on the same side in every table and in every run.
    """
    for row in rows:
        if table == "evaluation":
            row["split"] = "test"
        elif not row["split"]:
            below = unit(content_hash(row["_group"])) < validation_share
            row["split"] = "validation" if below else "train"
        elif row["split"] == "test":
            raise InputError(f"row {row['id']!r}: split 'test' in the table {table}; only evaluation has it")


def mix(rows: list[Row], total: int | None, harmful_share: float | None, seed: int) -> list[Row]:
    """Choose RL prompts: `total` rows, a share of them harmful, the rest harmless : ambiguous = 1 : 1.

    The proportions are TARS's (arXiv 2507.00971 §3). Where harmless or ambiguous prompts are too few for
    1 : 1 the other kind fills up. Without a total it is as large as the share allows; with one that cannot
    be reached at the share, likewise. Raises InputError where a share is given and a side has no row.
    """
    by_category: dict[str, list[Row]] = {"harmful": [], "harmless": [], "ambiguous": []}
    for row in sorted(rows, key=lambda row: (content_hash(seed, row["id"]), row["id"])):
        by_category[row["category"]].append(row)
    if harmful_share is None:
        everything = sorted(rows, key=lambda row: (content_hash(seed, row["id"]), row["id"]))
        return everything if total is None else everything[:total]
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
    n_ambiguous = min(len(ambiguous), max(others // 2, others - len(harmless)))
    n_harmless = min(len(harmless), others - n_ambiguous)
    return harmful[:n_harmful] + harmless[:n_harmless] + ambiguous[:n_ambiguous]
