"""The stage *report* on outputs as the other stages leave them: what of them reaches the page, and what may not."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.config import PipelineConfig
from sear_core.errors import InputError
from sear_core.evaluation.records import COMPLETIONS
from tasks.handles import (
    Comparison,
    DataVersion,
    EvalReport,
    ModelVersion,
    PreparedData,
    RewardModels,
    Validated,
)
from tasks.report import compute_report, judge_files, report_stage
from tasks.stage import Job
from tasks.workspace import Workspace

ARMS = ["sft", "sear"]
RATES = {"dsr": 0.8, "dsr.low": 0.7, "dsr.high": 0.9, "compliance.ambiguous": 0.6, "dsr.hijack": 0.3}
ROW = {
    "condition": "none", "prompt": "ask", "sent": "ask", "prefill": "", "verdict": "complied", "harmful": False,
    "malformed": False, "closed": True, "answer": "here", "reasoning": "OWN-THOUGHT", "step_values": [0.25],
}  # fmt: skip


def write(path: Path, value) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.fixture
def job(tmp_path):
    """job(**report options): the stage's Job on a store in which every stage has an output."""
    store = tmp_path / ".sear" / "store"

    def out(stage: str) -> Path:
        return store / stage / "key" / "out"

    for arm in ARMS:
        folder = out(f"evaluation.{arm}")
        rate = {"suite": "s", "slice": "homonyms", "condition": "none", "metric": "dsr", "value": 0.4, "low": 0.3,
                "high": 0.5, "prompts": 25}  # fmt: skip
        write(folder / "slices.json", {"rows": [rate], "worst": {"dsr": rate}, "notes": ["x is left out"]})
        write(folder / "evaluation.json", {"conditions": [
            {"attack": "no_reasoning", "kind": "reasoning_use", "description": "NOT-AN-ATTACK"},
            {"attack": "hijack", "kind": "attack", "description": "the block is replaced"}]})  # fmt: skip
        rows = [
            ROW | {"id": f"{category}-{n}", "category": category, "condition": condition}
            for category in ("harmful", "ambiguous")
            for condition in ("none", "hijack")
            for n in range(3)
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=COMPLETIONS), folder / "completions.parquet")
    write(out("policy.sear") / "history.json", [{"step": 1, "kl": 0.1}, {"step": 2, "kl": 0.2}])
    write(out("prepare") / "report.json", {"sha256": "TABLES-HASH", "sources": [{"name": "SOURCE-ONE"}]})
    write(out("validate") / "docs" / "index.html", "<html>")
    write(out("validate") / "result.json", [])
    write(out("reward_model") / "harm" / "calibration.json",
          {"steps": [{"probability": 0.2, "label": 0.1, "count": 9.0}]})  # fmt: skip
    write(out("compare") / "comparison.json", {
        "arms": dict.fromkeys(ARMS, RATES), "differences": {"sear": {"dsr": [0.1, 0.05, 0.2]}},
        "control_differences": {}, "champion_differences": {}, "baseline": "sft", "candidate": "sear", "champion": "3",
        "promote": False, "reasons": ["dsr fails"],
        "checks": [{"name": "dsr", "value": 0.8, "needed": "≥ 0.900", "passed": False}]})  # fmt: skip
    (out("warm_start")).mkdir(parents=True)
    common = {"md5": "c" * 32, "metrics": {}}
    inputs = {
        "version": DataVersion(path="data", md5="DVC-HASH.dir", rows=1),
        "prepare": PreparedData(path=str(out("prepare")), sha256="PREPARED-HASH", tables={}, **common),
        "validate": Validated(path=str(out("validate")), **common),
        "warm_start": ModelVersion(path=str(out("warm_start")), name="w", **common),
        "reward_model": RewardModels(path=str(out("reward_model")), md5="c",
                                     metrics={"harm.steps.auroc": 0.91, "harm.steps.n": 9.0}),
        "compare": Comparison(path=str(out("compare")), arms=ARMS, **common),
        "policy.sear": ModelVersion(path=str(out("policy.sear")), name="p", **common),
        **{f"evaluation.{arm}": EvalReport(path=str(out(f"evaluation.{arm}")), arm=arm, **common) for arm in ARMS},
    }  # fmt: skip

    def make(show_reasoning: bool = True, transcripts: int = 4, run: dict | None = None, **options) -> Job:
        config = PipelineConfig.model_validate({"report": options}).model_dump(mode="json")
        stage = report_stage(ARMS, config, transcripts, show_reasoning)
        target = store / "report" / "key.partial" / "out"
        target.mkdir(parents=True, exist_ok=True)
        section = stage.section | ({"run": run} if run else {})
        return Job(name="report", arm="", section=section, inputs=inputs, out=target, root=tmp_path)

    return make


def rendered(job: Job) -> str:
    compute_report(job)
    return (job.out / "report.html").read_text("utf-8")


def test_every_stage_has_its_place_on_the_page(job):
    text = rendered(job())
    for words in ("SEAR is safer than the warm start", "May not be promoted", "✗ failed", "champion so far: version 3",
                  "homonyms", "x is left out", "the block is replaced", "0.910", "training curves",
                  "reliability of the reward models", "SOURCE-ONE", "TABLES-HASH", "DVC-HASH.dir", "PREPARED-HASH",
                  "every expectation met", "git.commit", "report.reasoning", "OWN-THOUGHT"):  # fmt: skip
        assert words in text, words
    assert "NOT-AN-ATTACK" not in text
    assert text == rendered(job())


def test_the_link_to_the_data_docs_leads_from_the_finished_page_to_them(job, tmp_path):
    made = job()
    link = re.search(r'href="([^"#]+index\.html)"', rendered(made))
    assert link is not None
    # a finished output lies where the partial one lay, under `key` instead of `key.partial`
    finished = made.out.parent.with_name("key") / "out"  # now it is `key.partial`, as deep in the store
    assert (finished / link[1]).resolve().read_text() == "<html>"


def test_transcripts_are_the_same_prompts_for_all_arms_half_of_them_asked_directly(job):
    made = job()
    rendered(made)
    rows = json.loads((made.out / "transcripts.json").read_text())
    assert [row["arm"] for row in rows] == ["sft", "sear"] * 4
    assert [row["attack"] for row in rows] == ["", "", "hijack", "hijack"] * 2
    assert {row["category"] for row in rows} == {"harmful", "ambiguous"}
    assert not any({"reasoning", "prefill", "sent"} & set(row) for row in rows)
    assert json.loads((made.out / "reasoning.json").read_text())[0]["reasoning"] == "OWN-THOUGHT"


def test_where_reasoning_may_not_be_shown_no_file_holds_it(job):
    made = job(show_reasoning=False)
    assert "OWN-THOUGHT" not in rendered(made)
    assert not any("OWN-THOUGHT" in path.read_text() for path in made.out.rglob("*.*") if path.is_file())


def test_a_rebuilt_page_says_which_run_and_commit_it_is_of(job):
    text = rendered(job(run={"run": "RUN-ID", "git.commit": "COMMIT-OF-THE-RUN", "git.dirty": "false"}))
    head = text[: text.index("<main>")]
    assert "RUN-ID" in head and "COMMIT-OF-THE-RUN" not in head and "COMMIT-OF-THE-RUN" in text


def test_a_judges_agreement_is_shown_from_the_file_that_the_config_names(job, tmp_path):
    agreement = {
        "rows": 50,
        "binary": 0.94,
        "intervals": {"binary": [0.85, 0.98]},
        "confusion": {},
        "classes": {},
    }
    name = write(tmp_path / "agreement.json", {"judge": "rules", "rows": 60, "agreement": agreement}).name
    text = rendered(job(judge_quality=[name]))
    assert "rules (agreement.json), against people’s labels on 50 rows" in text and "0.94" in text
    config = PipelineConfig.model_validate({"report": {"judge_quality": [name]}}).model_dump(mode="json")
    stage, workspace = report_stage(ARMS, config, 4, True), Workspace(tmp_path)
    before = judge_files(stage, {}, workspace)
    write(tmp_path / name, "{}")
    assert judge_files(stage, {}, workspace) != before  # another file, another report
    with pytest.raises(InputError, match=r"agreement\.json: expected the JSON of `sear judge"):
        rendered(job(judge_quality=[name]))
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match="no such file"):
        judge_files(stage, {}, workspace)
