"""Information-aware policy optimization: components for RL post-training that rewards tokens for what they tell.

The interfaces are in `iapo.interfaces`, the data between them in `iapo.types`, one implementation a file below.
"""

from iapo.interfaces import AdvantageAssigner, MIEstimator, PolicyLoss, PolicyOptimizer, Reward, Sampler
from iapo.types import AdvantageOutput, LossOutput, Rollout, StepStats, TokenSignals

__all__ = [
    "AdvantageAssigner",
    "AdvantageOutput",
    "LossOutput",
    "MIEstimator",
    "PolicyLoss",
    "PolicyOptimizer",
    "Reward",
    "Rollout",
    "Sampler",
    "StepStats",
    "TokenSignals",
]
