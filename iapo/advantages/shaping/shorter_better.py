"""ShorterBetter's reward: the length of the group's shortest correct completion is the target."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.parameters import check_weights
from iapo.advantages.shaping.interface import RewardShaping
from iapo.ops.groups import Groups


@dataclass(frozen=True)
class ShorterBetter(RewardShaping):
    """``correct_weight * 1[correct] - weight * |n - n*|``, ``n*`` the group's shortest correct length.

    The original rewards do not count, only which completions are correct.

    *Degenerate cases.* Without a correct completion ``n*`` is the group's mean length.

    Args:
        correct_weight: reward of being correct.
        weight: price of a token of distance.

    Raises:
        ValueError: a number that is not finite, or a negative weight.

    Example:
        >>> shaping = ShorterBetter(correct_weight=1.0, weight=0.1)
        >>> shaping(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0, 0, 0]), torch.tensor([12, 10, 8]))
        tensor([ 0.8000,  1.0000, -0.2000])

    References:
        Yi et al., "ShorterBetter", arXiv 2504.21370.
    """

    correct_weight: float = 2.0
    weight: float = 0.001

    def __post_init__(self) -> None:
        check_weights(correct_weight=self.correct_weight, weight=self.weight)

    def shape(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
        correct: Bool[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """The weighted correctness minus the price of the distance."""
        groups = Groups.of(group_ids)
        n = lengths.to(rewards.dtype)
        shortest = groups.min(n.masked_fill(~correct, torch.inf))
        target = torch.where(shortest.isfinite(), shortest, groups.mean(n))[groups.of_row]
        return self.correct_weight * correct.to(rewards.dtype) - self.weight * (n - target).abs()
