"""A stage's code is its module and the core files that it reaches, without comments and docstrings."""

import sys

import pytest
from pydantic import ValidationError

from sear_core.errors import InputError
from tasks import fingerprint


def test_comments_docstrings_and_layout_do_not_count(tmp_path):
    a, b, c = (tmp_path / name for name in ("a.py", "b.py", "c.py"))
    a.write_text('def f(x):\n    """Doc."""\n    return x + 1\n')
    b.write_text("def f(x):\n\n    # why\n    return (x + 1)\n")
    c.write_text("def f(x):\n    return x + 2\n")
    assert fingerprint.file_hash(a) == fingerprint.file_hash(b) != fingerprint.file_hash(c)


def test_a_stage_reaches_its_own_room_of_the_core_and_not_its_neighbours():
    policy = set(fingerprint.code_fingerprint("tasks.policy"))
    assert {"tasks/policy.py", "sear_core/policy/advantages.py", "sear_core/schema.py"} <= policy
    assert not any(name.startswith("sear_core/evaluation/") for name in policy)
    assert "tasks/tracking.py" not in policy


def test_library_versions_are_those_installed():
    from importlib import metadata

    assert fingerprint.library_versions("training")["trl"] == metadata.version("trl")


def test_the_report_is_made_anew_when_its_template_or_its_plots_change():
    files = fingerprint.code_fingerprint("tasks.report", ("tasks/templates/*",))
    assert {"tasks/plots.py", "tasks/report_html.py", "tasks/templates/run.html.j2"} <= set(files)
    assert "tasks/model_registry.py" not in files


def test_a_plug_ins_code_counts_with_what_it_imports_from_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    package = tmp_path / "ours_rewards"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "steps.py").write_text("from . import words\n\nclass Reward:\n    pass\n")
    (package / "words.py").write_text("BAD = ['bad']\n")
    (package / "unrelated.py").write_text("")

    def now():
        fingerprint.file_hash.cache_clear()
        return fingerprint.plug_in_hash("ours_rewards.steps:Reward")

    before = now()
    (package / "unrelated.py").write_text("x = 1\n")
    assert now() == before
    (package / "words.py").write_text("BAD = ['bad', 'worse']\n")
    assert now() != before


def test_the_policys_key_holds_a_plug_in_and_a_local_prover(tmp_path, monkeypatch):
    from tasks import policy
    from tasks.config import ModelConfig, PolicyConfig

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "my_own_steps.py").write_text("class Reward:\n    pass\n")
    (tmp_path / "prover").mkdir()
    (tmp_path / "prover" / "config.json").write_text("{}")

    def outside(**options):
        stage = policy.stage("sear", PolicyConfig(**options), ModelConfig(), 0)
        return policy.outside(stage, {}, None)

    assert outside() == {}
    found = outside(process_reward="my_own_steps:Reward", prover=str(tmp_path / "prover"))
    assert found.keys() == {"plug-in", "prover"} and all(found.values())
    with pytest.raises(
        InputError, match="defines no 'Rewards'; did you mean 'Reward'"
    ):  # before anything runs
        policy.stage("sear", PolicyConfig(process_reward="my_own_steps:Rewards"), ModelConfig(), 0)
    with pytest.raises(ValidationError, match="did you mean 'forced_answer'"):
        PolicyConfig(process_reward="forced_answers")
