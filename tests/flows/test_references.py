"""What a config names beside its tables is looked at before anything runs."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.config import load_config
from flows.pipeline import merge, stages
from flows.references import check_references, check_suites, needs_hub
from flows.study import Members
from flows.study_members import member_config, members
from sear_core.errors import InputError
from sear_core.schema import TABLES
from tasks.workspace import Workspace

SOURCE = 'data.sources=[{name="own", role="rl_prompts", hub="owner/set"}]'
JUDGE = ["evaluation.judge.kind=model", "evaluation.judge.template=wildguard"]


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["policy.prover=/nonexistent/model"], "policy.prover: /nonexistent/model: no such model directory"),
        (["arm.mine.prover=/nonexistent/model"], "arm.mine.prover: /nonexistent/model: no such model"),
        ([*JUDGE, "evaluation.judge.model=/nonexistent/model"], "evaluation.judge.model: /nonexistent/model"),
        (["warm_start.model.path="], "warm_start.model.path: empty"),
        (['report.judge_quality=["none.json"]'], "report.judge_quality.0: none.json: no such file"),
        (["validation.reference=none.json"], "validation.reference: none.json: no such file"),
        (["data.tokenizer=/nonexistent"], "data.tokenizer: /nonexistent: expected a local folder"),
    ],
)
def test_what_is_not_there_is_named_with_its_key(tmp_path, sets, told):
    with pytest.raises(InputError) as error:
        check_references(load_config("smoke", sets=sets), Workspace(tmp_path))
    assert str(error.value).startswith(told)


@pytest.mark.skipif(importlib.util.find_spec("nanogcg") is not None, reason="nanogcg is installed")
def test_an_attack_without_its_library_is_refused_before_anything_is_trained(tmp_path):
    config = load_config("smoke", sets=['evaluation.attacks=["gcg"]'])
    with pytest.raises(InputError, match="'gcg' needs nanogcg"):
        check_references(config, Workspace(tmp_path))


@pytest.mark.parametrize(
    "sets", [[SOURCE], ["policy.prover=owner/model"], [*JUDGE, "evaluation.judge.model=a/b"]]
)
def test_the_hub_is_open_to_every_part_of_a_config_that_names_it(sets):
    assert needs_hub(load_config("smoke", sets=sets))


def test_the_hub_is_closed_to_a_config_that_names_nothing_on_it(tmp_path):
    assert not needs_hub(load_config("smoke"))
    assert not needs_hub(
        load_config("smoke", sets=[f"warm_start.model.path={tmp_path}"]), "models:/sear@champion"
    )


def write_evaluation(prepared, categories):
    """A prepared evaluation table of one suite, `xstest`: a row for each category."""
    rows = [
        {name: "" for name in TABLES["evaluation"].names}
        | {"id": f"own:{i}", "prompt": f"prompt {i}", "category": category, "suite": "xstest"}
        for i, category in enumerate(categories)
    ]
    (prepared / "tables").mkdir()
    pq.write_table(
        pa.Table.from_pylist(rows, TABLES["evaluation"]), prepared / "tables" / "evaluation.parquet"
    )


@pytest.mark.parametrize(
    ("suites", "categories", "told"),
    [
        (
            ["xtest"],
            ["harmful", "harmless"],
            "'xtest' is no suite of the evaluation table; did you mean 'xstest'?",
        ),
        ([], ["harmless", "ambiguous"], "the evaluation suite has no harmful prompt"),
    ],
)
def test_a_suite_that_can_say_nothing_is_refused_before_anything_is_trained(
    tmp_path, suites, categories, told
):
    write_evaluation(tmp_path, categories)
    with pytest.raises(InputError) as error:
        check_suites(suites, tmp_path)
    assert told in str(error.value)


def test_a_study_asks_for_the_suites_of_all_its_members_behind_the_data_gate(tmp_path):
    write_evaluation(tmp_path, ["harmful", "harmless"])
    settings = load_config("study")
    wanted = members(settings)
    dags = [stages(member_config(settings, member)) for member in wanted]
    nodes, places = merge(dags)
    prepare, validate = (next(n for n in nodes if n.stage.name == name) for name in ("prepare", "validate"))

    def after_the_gate(suites):
        who = Members(wanted, places, SimpleNamespace(), suites)
        who.done(prepare, SimpleNamespace(path=str(tmp_path)))
        who.done(validate, SimpleNamespace(path=""))

    after_the_gate([["xstest"]] * len(wanted))
    with pytest.raises(InputError, match="'xtest' is no suite"):  # of one member alone
        after_the_gate([["xstest"]] * (len(wanted) - 1) + [["xtest"]])
