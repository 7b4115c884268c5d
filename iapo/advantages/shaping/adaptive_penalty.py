"""ALP's reward: a price on each token that rises with the share of a prompt's completions that are correct."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.parameters import check_weights
from iapo.advantages.shaping.interface import RewardShaping
from iapo.ops.groups import Groups


@dataclass(frozen=True)
class AdaptiveLengthPenalty(RewardShaping):
    """ALP: ``r - weight * max(p, 1 / G) * n``, ``p`` the share of the prompt's ``G`` completions that are correct.

    The more often a prompt is solved, the dearer are its tokens. Wrong completions pay as well. The paper writes the
    weight as ``beta / N``, with a constant ``N`` for the scale of lengths.

    *Degenerate cases.* At a prompt that is never solved a token costs as much as if one completion were correct.

    Args:
        weight: price of a token at a prompt that is always solved.

    Raises:
        ValueError: a number that is not finite, or a negative ``weight``.

    Example:
        >>> shaping = AdaptiveLengthPenalty(weight=0.01)
        >>> shaping(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.tensor([20, 40]))
        tensor([ 0.9000, -0.2000])

    References:
        Xiang et al., "Just Enough Thinking", arXiv 2506.05256, the reward.
    """

    weight: float

    def __post_init__(self) -> None:
        check_weights(weight=self.weight)

    def shape(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
        correct: Bool[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """The rewards minus the price of their lengths."""
        groups = Groups.of(group_ids)
        solved = groups.mean(correct.to(rewards.dtype))
        least = 1 / groups.size.to(rewards.dtype)
        return rewards - self.weight * torch.maximum(solved, least)[groups.of_row] * lengths
