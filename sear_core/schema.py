"""The one row schema, and the prepared tables.

Every prepared table is a Parquet file `<name>.parquet` with the columns below, in this order. Splits are
`train`, `validation` (choosing, calibrating, gating) and `test` (evaluation only; the table `evaluation` alone).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from sear_core.errors import InputError

Category = Literal["harmful", "harmless", "ambiguous"]
CATEGORIES: tuple[Category, ...] = get_args(Category)
Split = Literal["train", "validation", "test"]

_ROW = [("id", pa.string()), ("prompt", pa.string()), ("category", pa.string()), ("source", pa.string()),
        ("slice", pa.string()), ("split", pa.string())]  # fmt: skip

TABLES: dict[str, pa.Schema] = {
    # what the policy is trained on
    # prefill: as in warm_start; what it opens is not the policy's writing
    "rl_prompts": pa.schema([*_ROW, ("prefill", pa.string())]),
    # reasoning: steps, one a line; kind: "trace", or "fact" (a word's meaning, taught plainly);
    # prefill: text put behind `<think>` newline that carries no loss; with `</think>` in it the answer follows
    "warm_start": pa.schema(
        [*_ROW, ("reasoning", pa.string()), ("answer", pa.string()), ("kind", pa.string()),
         ("prefill", pa.string())]
    ),
    # labels[k] in [0, 1]: is the prefix of the reasoning up to and with step k harmful?
    "step_labels": pa.schema(
        [*_ROW, ("steps", pa.list_(pa.string())), ("labels", pa.list_(pa.float32()))]
    ),
    # label 1: the answer is harmful
    "answer_labels": pa.schema([*_ROW, ("answer", pa.string()), ("label", pa.float32())]),
    "preferences": pa.schema([*_ROW, ("chosen", pa.string()), ("rejected", pa.string())]),
    # harmful_reasoning, benign_reasoning, affirmative: for attacks on this very prompt; empty: the attack's own
    # template serves; reference: the right answer, where there is one (capability)
    "evaluation": pa.schema(
        [*_ROW, ("suite", pa.string()), ("harmful_reasoning", pa.string()),
         ("benign_reasoning", pa.string()), ("affirmative", pa.string()), ("reference", pa.string())]
    ),
}  # fmt: skip


GROUP_ROWS = 1 << 15


def write_table(rows: Iterable[dict], name: str, folder: Path) -> Path:
    """Write rows as `<folder>/<name>.parquet`, the same bytes for the same rows (no timestamps).

    Rows may come from an iterator: no more than a row group of them is held.
    """
    path, schema, remaining = folder / f"{name}.parquet", TABLES[name], iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd", store_schema=False) as writer:
        group = list(islice(remaining, GROUP_ROWS))
        while True:
            writer.write_table(pa.Table.from_pylist(group, schema=schema), row_group_size=GROUP_ROWS)
            group = list(islice(remaining, GROUP_ROWS))
            if not group:
                return path


def read_table(name: str, folder: Path, split: Split | None = None) -> list[dict]:
    """The rows of a prepared table, one split of it where named.

    Raises InputError where the file is absent or its columns are not the schema's.
    """
    path = Path(folder) / f"{name}.parquet"
    if not path.is_file():
        raise InputError(f"{path}: no such prepared table; expected the output of the prepare stage")
    table = pq.read_table(path)
    if table.column_names != TABLES[name].names:
        raise InputError(f"{path}: columns {table.column_names}, expected {TABLES[name].names}")
    rows = table.to_pylist()
    return rows if split is None else [row for row in rows if row["split"] == split]
