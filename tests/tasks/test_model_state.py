"""A local model's bytes are part of the keys of the stages that begin from it."""

from flows.config import load_config
from tasks import reward_model, warm_start
from tasks.policy import recap_reasonings
from tasks.workspace import Workspace


def test_changed_weights_at_the_same_path_are_noticed(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"one")
    config = load_config("demo", sets=[f'warm_start.model.path="{model}"']).warm_start
    stage, workspace = warm_start.stage(config, 0), Workspace(tmp_path)
    before = warm_start.model_state(stage, {}, workspace)
    (model / "model.safetensors").write_bytes(b"two")
    after = warm_start.model_state(stage, {}, workspace)
    assert before.keys() == after.keys() == {"model"} and before != after


def test_a_tiny_model_and_a_hub_name_add_nothing_to_the_key(tmp_path):
    config = load_config("demo")
    stages = [warm_start.stage(config.warm_start, 0), reward_model.stage(config.reward_model, 0)]
    assert [warm_start.model_state(stage, {}, Workspace(tmp_path)) for stage in stages] == [{}, {}]


def test_recap_is_given_prompts_and_reasonings_of_harmful_traces_alone():
    row = {"prompt": "p", "reasoning": "z", "category": "harmful", "kind": "trace", "answer": "a"}
    others = [row | {"category": "harmless"}, row | {"kind": "fact"}, row | {"reasoning": ""}]
    assert recap_reasonings([row, *others]) == [{"prompt": "p", "reasoning": "z"}]
