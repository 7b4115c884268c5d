"""GR3's reward: the reward itself is divided by what grows with the length."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.parameters import check_weights
from iapo.advantages.shaping.interface import RewardShaping
from iapo.ops.groups import Groups


@dataclass(frozen=True)
class GroupRescaling(RewardShaping):
    """GR3: ``r / (1 + weight * n / mean_g n)``, with the mean length of the group, wrong completions included.

    A completion without a reward gains nothing by being short, since 0 stays 0, and no threshold decides which
    completions are correct. A reward below 0 would gain by length: the method is for rewards of at least 0.

    *Degenerate cases.* Where all completions of a group have the same length, each reward is divided by
    ``1 + weight``; where none has a token, the rewards do not change.

    Args:
        weight: of the length.

    Raises:
        ValueError: a ``weight`` that is negative or not finite.

    Example:
        >>> rewards, ids = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0, 0, 0])
        >>> GroupRescaling(weight=1.0)(rewards, ids, torch.tensor([5, 15, 10]))
        tensor([0.6667, 0.4000, 0.0000])

    References:
        Li et al., "Tackling Length Inflation Without Trade-offs: Group Relative Reward Rescaling", arXiv 2603.10535.
        It calibrates the weight by the advantages; here it is a number, whose default is ours.
    """

    weight: float = 0.3

    def __post_init__(self) -> None:
        check_weights(weight=self.weight)

    def shape(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
        correct: Bool[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """The rewards, divided."""
        groups = Groups.of(group_ids)
        n = lengths.to(rewards.dtype)
        mean = groups.mean(n)[groups.of_row]
        return rewards / (1 + self.weight * n / torch.where(mean > 0, mean, 1))
