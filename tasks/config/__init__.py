"""The config sections, one per noun; `flows/config.py` assembles and loads them.

Every value taken from a paper names it. A stage's cache key is a hash of its own section, so an option lives
in the section of the one stage that it changes.
"""

from tasks.config.base import Section, StageLimits
from tasks.config.data import DataConfig, Role, SourceConfig, ValidationConfig
from tasks.config.evaluation import EvaluationConfig, JudgeConfig
from tasks.config.model import LoraConfig, ModelConfig, TinyModelConfig
from tasks.config.operation import GateConfig, ReportConfig, RetrainConfig
from tasks.config.policy import Credit, PolicyConfig
from tasks.config.study import Seeds, StudyConfig, VariantConfig
from tasks.config.training import HarmConfig, HelpfulnessConfig, RewardModelConfig, WarmStartConfig

__all__ = [
    "Credit",
    "DataConfig",
    "EvaluationConfig",
    "GateConfig",
    "HarmConfig",
    "HelpfulnessConfig",
    "JudgeConfig",
    "LoraConfig",
    "ModelConfig",
    "PolicyConfig",
    "ReportConfig",
    "RetrainConfig",
    "RewardModelConfig",
    "Role",
    "Section",
    "Seeds",
    "SourceConfig",
    "StageLimits",
    "StudyConfig",
    "TinyModelConfig",
    "ValidationConfig",
    "VariantConfig",
    "WarmStartConfig",
]
