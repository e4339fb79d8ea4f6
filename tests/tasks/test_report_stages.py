"""The stages *compare* and *report*: which champion a decision is made against; what a transcript may show."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sear_core.evaluation.evaluate import COMPLETIONS
from tasks import model_registry
from tasks.config import EvaluationConfig, ModelConfig
from tasks.evaluation import champion_stage, champion_state
from tasks.handles import EvalReport
from tasks.model_registry import RIVAL_TAG, Registered
from tasks.report_parts import _transcripts
from tasks.stage import Job
from tasks.workspace import Workspace


@pytest.mark.parametrize(
    ("champion", "state"),
    [
        (None, "none"),
        (Registered("sear", "1", "a", "", tags={"evaluation.md5": "others"}), "1 a"),
        (Registered("sear", "2", "b", "", tags={"evaluation.md5": "own"}), "none"),
        (Registered("sear", "2", "b", "", tags={"evaluation.md5": "own", RIVAL_TAG: "1 a"}), "1 a"),
    ],
)
def test_who_was_promoted_over_a_champion_finds_its_decision_again(monkeypatch, tmp_path, champion, state):
    monkeypatch.setattr(model_registry, "by_alias", lambda *_: champion)
    stage = champion_stage(EvaluationConfig(), ModelConfig(), 0, 8, "sear", "sear")
    inputs = {"evaluation.sear": EvalReport(path="", md5="own", arm="sear")}
    assert champion_state(stage, inputs, Workspace(tmp_path)) == {"champion": state}


def test_a_reasoning_that_was_never_closed_is_not_shown_as_an_answer(tmp_path: Path):
    row = {
        "condition": "none",
        "prompt": "p",
        "sent": "p",
        "prefill": "",
        "verdict": "refused",
        "harmful": False,
    }
    rows = [
        row | {"id": "1", "category": "harmless", "reasoning": "why", "answer": "yes.", "malformed": False,
               "closed": True},
        row | {"id": "2", "category": "harmful", "reasoning": "SECRET", "answer": "SECRET", "malformed": True,
               "closed": False},
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=COMPLETIONS), tmp_path / "completions.parquet")
    job = Job(
        "report", "", {"transcripts": 5}, {"evaluation.sear": EvalReport(path=str(tmp_path), md5="", arm="sear")},
        tmp_path, tmp_path,
    )  # fmt: skip
    shown = {found.category: found.answer for found in _transcripts(job, ["sear"])}
    assert shown == {"harmless": "yes.", "harmful": ""}
