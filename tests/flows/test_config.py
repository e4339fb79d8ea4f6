"""Defaults < preset or file < --set; what is wrong is named, with the nearest right name."""

import pytest

from flows.config import ARMS, STAGES, load_config, presets
from flows.pipeline import stages
from sear_core.errors import InputError
from sear_core.evaluation.attacks import ATTACKS, NONE


@pytest.mark.parametrize("name", presets())
def test_every_preset_loads(name):
    config = load_config(name)
    assert config.gate.candidate in ("sft", *config.arms)


def test_settings_win_over_the_preset_and_know_toml_values():
    config = load_config(
        "demo", sets=["seed=7", "policy.updates=3", "policy.save_every=4", "experiment=mine"]
    )
    assert (config.seed, config.policy.updates, config.experiment) == (7, 3, "mine")


def test_an_arm_differs_from_the_policy_section_by_its_few_lines():
    config = load_config("demo", sets=['arm.mine={credit="level"}', 'arms=["mine","sear"]'])
    assert config.policy_of("mine").credit == "level"
    assert config.policy_of("grpo").credit == ARMS["grpo"]["credit"] == "answer"
    assert config.policy_of("recap").recap_share == 0.5


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("policy.updatez=3", "unknown key 'policy.updatez'; did you mean 'updates'?"),
        ("polcy.updates=3", "unknown key 'polcy'; did you mean 'policy'?"),
        ('arms=["seer"]', "arm 'seer' does not exist; did you mean 'sear'?"),
        ('policy.importance_sampling_level="sequence"', "couples them"),
        ("policy.group_size=1", "policy.group_size"),
        ('gate.candidate="recap"', "gate.candidate 'recap' is not among the arms"),
        ("policy", "expected KEY=VALUE"),
        ('evaluation.attacks=["harmful_prefil"]', "evaluation.attacks.0"),
        ("policy.steps_per_generation=0", "policy.steps_per_generation"),
        ("seed=-1", "seed"),
        ("seed=true", "seed: expected a number, not true"),
        ("policy.beta=false", "policy.beta: expected a number, not false"),
        ('experiment="team/sear"', "experiment"),
        ('arm={"a/b"={}}', "arm 'a/b': expected letters, digits, _ and - in its name"),
        ("seed.x=3", "'seed' is a value, not a section"),
        ("policy..updates=3", "expected KEY=VALUE"),
        ("policy.learning_rate=inf", "policy.learning_rate: Input should be a finite number"),
        ("limits.polcy.retries=2", "limits: 'polcy' is no stage; did you mean 'policy'?"),
        ('limits={"policy.seer"={retries=2}}', "limits: 'policy.seer' is no stage"),
    ],
)
def test_what_is_wrong_is_named(setting, told):
    with pytest.raises(InputError) as error:
        load_config("demo", sets=[setting])
    assert told in str(error.value)


def test_several_greedy_samples_are_refused():
    with pytest.raises(InputError, match="greedy samples are all the same"):
        load_config("demo", sets=["evaluation.samples=3", "evaluation.temperature=0"])


def test_the_attacks_that_a_config_may_name_are_those_that_there_are():
    names = [NONE.name, *ATTACKS, "my_module:OWN"]
    settings = load_config("demo", sets=[f"evaluation.attacks={names}", "evaluation.strengths.gcg=[5]"])
    assert settings.evaluation.attacks == names
    with pytest.raises(InputError, match="'gcg' is not among the attacks"):
        load_config("demo", sets=["evaluation.strengths.gcg=[5]"])
    with pytest.raises(InputError, match=r"evaluation.strengths.benign_hijack.0"):
        load_config("demo", sets=["evaluation.strengths.benign_hijack=[0]"])


def test_a_checkpoint_inside_a_generation_is_refused():
    sets = ["policy.per_device_batch_size=8", "policy.steps_per_generation=16", "policy.save_every=5",
            "policy.prompts_per_update=8", "policy.group_size=8", "policy.updates=10"]  # fmt: skip
    with pytest.raises(InputError, match="falls inside a generation"):
        load_config("demo", sets=sets)  # 5 updates × 8 accumulation = 40, no multiple of 16


def test_more_generations_than_the_batch_holds_are_refused():
    sets = ["policy.prompts_per_update=1", "policy.group_size=8", "policy.per_device_batch_size=4",
            "policy.steps_per_generation=1"]  # fmt: skip
    with pytest.raises(InputError, match="generation batch of 4 completions"):
        load_config("demo", sets=sets)


def test_an_unknown_preset_and_a_broken_file_are_named(tmp_path):
    with pytest.raises(InputError, match="did you mean 'demo'"):
        load_config("demmo")
    broken = tmp_path / "broken.toml"
    broken.write_text("seed = ")
    with pytest.raises(InputError, match=r"broken\.toml: not valid TOML"):
        load_config(file=broken)
    with pytest.raises(InputError, match="no such config file"):
        load_config(file=tmp_path / "absent.toml")


def test_the_same_config_has_the_same_hash():
    assert (
        load_config("demo").sha256
        == load_config("demo").sha256
        != load_config("demo", sets=["seed=1"]).sha256
    )


def test_the_stages_that_limits_may_name_are_those_of_the_dag():
    config = load_config("demo", sets=['limits={policy={retries=1}, "policy.sear"={retries=2}}'])
    assert {stage.name.partition(".")[0] for stage in stages(config)} == set(STAGES)


def test_an_empty_preset_is_not_the_default():
    with pytest.raises(InputError, match="preset '' does not exist"):
        load_config("")


@pytest.mark.parametrize(("text", "kind"), [("[1, 2]", "list"), ('"policy"', "str"), ("null", "NoneType")])
def test_a_json_config_that_is_no_object_is_refused(tmp_path, text, kind):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=f"config.json: a {kind}, expected an object"):
        load_config(file=tmp_path / "config.json")
