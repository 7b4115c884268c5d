"""Rewards that read completions in the style of a run."""

from collections.abc import Mapping
from typing import Any

from iapo.styles import CompletionStyle


def in_style(rewards: Mapping[str, Any], style: CompletionStyle) -> dict[str, Any]:
    """The reward functions, reading by ``style`` where they have no style of their own.

    A reward that reads completions has a method ``in_style(style)``, which returns the reward that reads so. Rewards
    without the method stay as they are.

    Args:
        rewards: functions by name.
        style: of the run.

    Example:
        >>> from iapo.rewards import ExactAnswer
        >>> from iapo.styles import Boxed
        >>> rewards = in_style({"exact": ExactAnswer()}, CompletionStyle(answer=Boxed()))
        >>> rewards["exact"](["1+1="], ["</think>\\\\boxed{2}"], [[]], answer=["2"])
        [1.0]
    """
    return {name: reward.in_style(style) if hasattr(reward, "in_style") else reward for name, reward in rewards.items()}
