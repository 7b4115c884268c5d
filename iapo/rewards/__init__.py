"""Rewards with the signature that TRL uses: ``reward(prompts, completions, completion_ids, **columns)``."""

from iapo.rewards.calling import RewardFunction
from iapo.rewards.columns import check_columns, check_references, read_references
from iapo.rewards.exact import ExactAnswer
from iapo.rewards.format import ThinkAnswerFormat
from iapo.rewards.gym import ReasoningGymAnswer
from iapo.rewards.isolated import IsolatedReward
from iapo.rewards.length import WithinLength
from iapo.rewards.maths import MathAnswer
from iapo.rewards.rollouts import score_rollout
from iapo.rewards.scores import Scores, score
from iapo.rewards.style import in_style
from iapo.rewards.text import reference_answer
from iapo.rewards.worker import Failure, KillableWorker

__all__ = [
    "ExactAnswer",
    "Failure",
    "IsolatedReward",
    "KillableWorker",
    "MathAnswer",
    "ReasoningGymAnswer",
    "RewardFunction",
    "Scores",
    "ThinkAnswerFormat",
    "WithinLength",
    "check_columns",
    "check_references",
    "in_style",
    "read_references",
    "reference_answer",
    "score",
    "score_rollout",
]
