"""Rewards that read completions in the style of a run."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from iapo.ops.arguments import arguments_named
from iapo.styles import CompletionStyle


@arguments_named
def in_style(rewards: Mapping[str, Any], style: CompletionStyle, lenient: bool = False) -> dict[str, Any]:
    """The reward functions, reading by ``style`` where they have no style of their own.

    A reward that reads completions has a method ``in_style(style)``, which returns the reward that reads so. Rewards
    without the method stay as they are.

    Args:
        rewards: functions by name.
        style: of the run.
        lenient: of rewards that have an argument of this name, whether answers count too of completions that were cut
            or mark none; ``False``: as each of them says itself.

    Example:
        >>> from iapo.rewards import ExactAnswer
        >>> from iapo.styles import Boxed
        >>> rewards = in_style({"exact": ExactAnswer()}, CompletionStyle(answer=Boxed()))
        >>> rewards["exact"](["1+1="], ["</think>\\\\boxed{2}"], [[]], answer=["2"])
        [1.0]
    """
    read = {name: each.in_style(style) if hasattr(each, "in_style") else each for name, each in rewards.items()}
    if not lenient:
        return read
    return {name: replace(each, lenient=True) if hasattr(each, "lenient") else each for name, each in read.items()}
