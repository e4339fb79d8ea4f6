import math
import sys
from types import ModuleType

import pytest

from sear_core.errors import InputError
from sear_core.policy.process_rewards import HarmModelReward, checked_values, load_process_reward


class Rows:
    def __init__(self, rows):
        self.rows = rows

    def values(self, prompts, steps):
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


def test_nan_and_wrong_lengths_are_unscorable_not_zero():
    reward = Rows([[0.1, 0.2], [0.1, math.nan], [0.1], [0.0, 0.5]])
    assert checked_values(reward, ["p"] * 4, [["z"]] * 4) == [[0.1, 0.2], None, None, [0.0, 0.5]]


def test_a_failing_process_reward_is_named():
    with pytest.raises(RuntimeError, match="process reward Rows failed on 1 reasonings: boom"):
        checked_values(Rows(OSError("boom")), ["p"], [["z"]])
    with pytest.raises(RuntimeError, match="returned 0 rows, expected 1"):
        checked_values(Rows([]), ["p"], [["z"]])


def test_the_harm_model_is_the_default_and_other_names_say_what_exists(scorers):
    assert isinstance(load_process_reward("harm_model", scorers["harm"]), HarmModelReward)
    with pytest.raises(InputError, match="there are harm_model, and your own as module:object"):
        load_process_reward("harm_mode", scorers["harm"])


def test_ones_own_process_reward_is_loaded_by_name(scorers, monkeypatch):
    module = ModuleType("our_rewards")
    module.constant = Rows([[1.0]])
    module.number = 3
    monkeypatch.setitem(sys.modules, "our_rewards", module)
    assert load_process_reward("our_rewards:constant", None) is module.constant
    with pytest.raises(InputError, match="has no method values"):
        load_process_reward("our_rewards:number", None)
    with pytest.raises(InputError, match="cannot be imported"):
        load_process_reward("our_rewards:absent", None)
