"""Where the evaluations of a run lie: the very outputs that it used, by the keys on its child runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

STAGE = "evaluation."
KINDS = ("pipeline", "evaluation", "member", "study")  # of the runs that can be compared


def stage_keys(client: MlflowClient, experiment: str, parent_id: str) -> dict[str, str]:
    """{stage: the store key of its output} of a run's stages, from its child runs."""
    children = client.search_runs(
        [experiment], f"tags.`mlflow.parentRunId` = '{parent_id}'", order_by=["attributes.start_time ASC"]
    )
    tags = [child.data.tags for child in children]
    return {tag["sear.stage"]: tag["sear.key"] for tag in tags if "sear.stage" in tag and "sear.key" in tag}


def evaluations_of(client: MlflowClient, run: Run, store: Path) -> dict[str, Path]:
    """{arm: the directory of its evaluation} as far as the store on this machine still holds them."""
    keys = stage_keys(client, run.info.experiment_id, run.info.run_id)
    found = {
        stage.removeprefix(STAGE): store / stage / key / "out"
        for stage, key in keys.items()
        if stage.startswith(STAGE)
    }
    return {arm: folder for arm, folder in found.items() if (folder / "completions.parquet").is_file()}


def main_arm(run: Run, arms: dict[str, Path]) -> str | None:
    """The arm whose metrics a run carries without a prefix: its only one, or the gate's candidate."""
    if len(arms) == 1:
        return next(iter(arms))
    candidate = run.data.params.get("gate.candidate")
    return candidate if candidate in arms else None
