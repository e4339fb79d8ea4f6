"""Who takes part in a study, and that its members share what they should: pure, nothing is run."""

import pytest

from flows.config import load_config
from flows.pipeline import merge, selection
from flows.study_members import Wanted, chosen, member_config, members, parse_seeds, parse_shares
from sear_core.errors import InputError

STUDY = """
extends = "smoke"
[study]
seeds = 2
baseline = "grpo"
shares = [0.4, 0.2]
share_arms = ["sear"]
share_seeds = 1
[study.arms]
sft = 1
grpo = 2
sear = [0, 3]
[study.variants.steep]
arm = "sear"
seeds = 1
policy.reasoning_weight = 2.0
"""


@pytest.fixture
def config(tmp_path):
    def load(text: str = STUDY, *sets: str):
        path = tmp_path / "study.toml"
        path.write_text(text)
        return load_config(file=path, sets=list(sets))

    return load


def test_members_come_seed_by_seed_with_the_seeds_and_shares_of_their_arm(config):
    names = [member.name for member in members(chosen(config()))]
    assert names == [
        "sft, seed 0, share 0.4", "grpo, seed 0, share 0.4", "sear, seed 0, share 0.4",
        "steep, seed 0, share 0.4", "sear, seed 0, share 0.2",  # share_arms and share_seeds: sear, seed 0 alone
        "grpo, seed 1, share 0.4", "sear, seed 3, share 0.4",
    ]  # fmt: skip


def test_the_command_s_choice_replaces_the_file_s(config):
    found = members(chosen(config(), arms="grpo,recap", seeds="1..2", shares=".3"))
    assert [(m.arm, m.seed, m.share) for m in found] == [
        ("grpo", 1, 0.3), ("recap", 1, 0.3), ("grpo", 2, 0.3), ("recap", 2, 0.3),
    ]  # fmt: skip
    everyone = members(chosen(config(), shares=".3,.5", seeds="1"))
    assert [m.arm for m in everyone if m.share == 0.5] == [
        "grpo",
        "sear",
        "steep",
    ]  # the warm start has no share


def test_without_arms_a_study_has_the_warm_start_and_the_config_s_arms(config):
    found = members(chosen(config('extends = "smoke"\n[study]\nseeds = 1\n')))
    assert [(m.arm, m.share) for m in found] == [("sft", None), ("grpo", None), ("sear", None)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", [0, 1, 2]), ("0..9", list(range(10))), ("4..4", [4]), ("0,3,5", [0, 3, 5])],
)
def test_seeds_are_a_number_a_range_or_a_list(text, expected):
    found = parse_seeds(text)
    assert (list(range(found)) if isinstance(found, int) else found) == expected


@pytest.mark.parametrize("text", ["", "0", "many", "5..2", "-1", "1,x"])
def test_impossible_seeds_are_refused(text):
    with pytest.raises(InputError, match="--seeds"):
        parse_seeds(text)


def test_impossible_shares_arms_and_baselines_are_refused(config):
    for text in ("1.5", "x", "0", ""):
        with pytest.raises(InputError, match="--shares"):
            parse_shares(text)
    with pytest.raises(InputError, match=r"arm 'saer' does not exist; did you mean 'sear'\?"):
        chosen(config(), arms="grpo,saer")
    with pytest.raises(InputError, match="baseline 'grpo' is not among the arms sft, sear"):
        chosen(config(), arms="sft,sear")
    assert chosen(config(), arms="sear").study.baseline == "sear"  # one arm is compared with nothing


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("[study.arms]\nsaer = 2", r"study.arms: arm 'saer' does not exist; did you mean 'sear'\?"),
        ('[study.variants.v]\narm = "saer"', "study.variants.v.arm 'saer' does not exist"),
        ("[study.variants.grpo]\nseeds = 1", "study.variants.grpo: an arm has that name"),
        ("[study.variants.v]\npolicy.betta = 1", r"study.variants.v: .*betta"),
        ("[study.variants.v]\nwarm_start.epochs = -1", r"study.variants.v: warm_start.epochs"),
        ("[study.variants.v]\nregister.x = 1", "unknown key 'study.variants.v.register'"),
        ("[study]\nseeds = 0", "study.seeds"),
        ("[study]\nshares = [1.5]", r"study.shares \[1.5\]"),
        ('[study]\nshare_arms = ["saer"]', "study.share_arms: arm 'saer' does not exist"),
        ("[arm.sft]\nbeta = 0.1", "arm.sft: the warm start alone has no policy to change"),
        (
            '[reward_model]\nfrom_warm_start = true\n[reward_model.model]\npath = "x"',
            "from_warm_start exclude each other",
        ),
    ],
)
def test_impossible_studies_die_at_parse_naming_the_key(config, lines, message):
    with pytest.raises(InputError, match=message):
        config(f'extends = "smoke"\n{lines}\n')


def test_a_variant_changes_its_own_sections_and_nothing_else(config):
    base = chosen(config())
    plain, steep = (member_config(base, Wanted(arm, 3, None)) for arm in ("sear", "steep"))
    assert steep.policy_of("steep").reasoning_weight == 2.0
    own = plain.policy_of("sear")
    assert steep.policy_of("steep").model_copy(update={"reasoning_weight": own.reasoning_weight}) == own
    assert (steep.seed, steep.data.seed, steep.warm_start) == (3, 0, plain.warm_start)
    grpo = member_config(base, Wanted("grpo", 3, 0.2))
    assert grpo.policy_of("grpo").credit == "answer" and grpo.policy_of("grpo").harmful_share == 0.2


def test_data_is_one_node_for_all_members_and_warm_start_and_reward_models_one_per_seed(config):
    base = chosen(config())
    dags = [
        selection(member_config(base, m), "sqlite:///", None, f"evaluation.{m.arm}", False).dag
        for m in members(base)
    ]
    nodes, places = merge(dags)
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node.stage.name] = counts.get(node.stage.name, 0) + 1
    # seeds 0, 1 and 3; sear: seed 0 at two shares, and seed 3
    assert counts == {
        "version": 1, "prepare": 1, "validate": 1, "warm_start": 3, "reward_model": 3,
        "policy.grpo": 2, "policy.sear": 3, "policy.steep": 1,
        "evaluation.sft": 1, "evaluation.grpo": 2, "evaluation.sear": 3, "evaluation.steep": 1,
    }  # fmt: skip
    of_seed_0 = [ids["warm_start"] for ids, m in zip(places, members(base), strict=True) if m.seed == 0]
    assert len(of_seed_0) == 5 and len(set(of_seed_0)) == 1
    done: set[str] = set()
    for node in nodes:  # each comes after what it needs
        assert done >= set(node.needs.values())
        done.add(node.id)


def test_from_behind_until_is_refused(config):
    with pytest.raises(InputError, match=r"--from 'report' lies behind --until 'policy.sear'"):
        selection(config(), "sqlite:///", "report", "policy.sear", False)
