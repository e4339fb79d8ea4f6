"""Sources, preparation and the gate on data."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from sear_core.schema import TABLES, Category, Split
from tasks.config.base import Section

Role = Literal["rl_prompts", "warm_start", "step_labels", "answer_labels", "preferences", "evaluation"]


class SourceConfig(Section):
    """One source table and how its columns become schema columns; docs/data.md explains each key."""

    name: str
    role: Role
    path: str = ""  # relative to data.root: a file, a folder of files, or one that `datasets` has saved
    hub: str = ""  # or a name on the Hugging Face hub
    subset: str | None = None  # of the hub's data set
    part: str = "train"  # the split to read, on the hub or in a saved folder
    revision: str | None = None  # on the hub: a commit or tag
    licence: str = "unknown"
    columns: dict[str, str] = {}  # schema column -> source column; a dotted name reaches into a record
    constants: dict[str, Any] = {}  # schema column -> value
    templates: dict[str, str] = {}  # schema column -> text with {source column} in it
    values: dict[str, dict[str, Any]] = {}  # schema column -> {source value: schema value}; "*": any other
    where: dict[str, list[Any]] = {}  # source column -> values kept
    reader: Literal["rows", "oasst_trees", "hh_dialogues", "numbered_answers", "attack_artifacts"] = "rows"
    limit: int | None = Field(None, gt=0)  # rows kept, chosen by content hash
    weight: float = Field(1.0, gt=0)  # of its rows' chance to be chosen, where RL prompts are mixed
    split: Split | Literal["hash"] = "hash"  # "hash": by content hash; or the column named in `columns`
    unique: list[str] = []  # schema columns in which no two rows of the source may agree
    group: str = "prompt"  # the schema column whose content decides a split by hash

    @model_validator(mode="after")
    def _possible(self) -> SourceConfig:
        if bool(self.path) == bool(self.hub):
            raise ValueError(f"source {self.name!r}: expected one of `path` and `hub`")
        if self.weight != 1 and self.role != "rl_prompts":
            raise ValueError(
                f"source {self.name!r}: weight is for rl_prompts, which are mixed; this is {self.role}"
            )
        return self


class DataConfig(Section):
    root: str = "data"
    sources: list[SourceConfig] = []
    seed: int | None = Field(None, ge=0, lt=2**32)  # None: the top-level seed
    validation_share: float = Field(0.1, gt=0, lt=0.5)
    max_prompt_chars: int = Field(2000, gt=0)
    max_answer_chars: int = Field(2000, gt=0)
    # in tokens of `tokenizer` (a local folder with tokenizer.json), else in fours of UTF-8 bytes; None: no limit
    max_prompt_tokens: int | None = Field(None, gt=0)
    max_answer_tokens: int | None = Field(None, gt=0)
    tokenizer: str | None = None
    # warm-start traces built from templates, for sources that have none
    template_traces: int = Field(0, ge=0)
    rl_prompts: int | None = Field(None, gt=0)  # how many in all; None: all there are
    harmful_share: float | None = Field(None, gt=0, lt=1)  # of the RL prompts; None: as they come
    harmless_per_ambiguous: float = Field(
        1.0, gt=0
    )  # among the other RL prompts, where harmful_share is given
    # all but one of near-duplicates (docs/data.md) within a table out; those of evaluation prompts always go
    near_duplicates: bool = True


class ValidationConfig(Section):
    """Bounds of the data gate (tasks/suites.py); docs/data-versions.md explains each check."""

    min_rows: dict[str, int] = {}  # table -> least number of rows
    min_category_share: float = Field(0.05, ge=0, lt=0.34)  # where no bounds are stated
    # table -> category -> [least, greatest] share
    category_shares: dict[str, dict[Category, tuple[float, float]]] = {}
    max_prompt_chars: int = Field(4000, gt=0)
    max_answer_chars: int = Field(20_000, gt=0)
    near_evaluation: bool = True  # warn of near-duplicates of evaluation prompts too
    # against the version before; drift warns, it never closes the gate
    max_share_drift: float = Field(0.1, gt=0, le=1)
    max_length_drift: float = Field(1.5, gt=1)  # a factor
    min_known_words: float = Field(0.8, ge=0, le=1)
    reference: str = ""  # a profile.json of an earlier version; empty: the newest one in the store

    @field_validator("min_rows", "category_shares")
    @classmethod
    def _tables_exist(cls, tables: dict[str, Any]) -> dict[str, Any]:
        for name in tables:
            if name not in TABLES:
                close = difflib.get_close_matches(name, TABLES, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(TABLES)}"
                raise ValueError(f"{name!r} is no table; {hint}")
        return tables

    @field_validator("category_shares")
    @classmethod
    def _shares_in_order(cls, tables: dict[str, Any]) -> dict[str, Any]:
        for name, shares in tables.items():
            for category, (low, high) in shares.items():
                if not 0 <= low <= high <= 1:
                    raise ValueError(
                        f"{name}.{category}: [{low:g}, {high:g}], expected two shares "
                        f"from 0 to 1, the lower one first"
                    )
        return tables
