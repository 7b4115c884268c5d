"""Arora and Zanette's reward: the longer a correct completion is among the correct ones, the less it gets."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.shaping.interface import RewardShaping
from iapo.ops.checks import check_number
from iapo.ops.groups import Groups


@dataclass(frozen=True)
class AroraZanette(RewardShaping):
    """``1[correct] * (1 - weight * sigmoid((n - mean_c) / std_c))``, statistics over the group's correct completions.

    The standard deviation divides by the count. The original rewards do not count, only which completions are correct.
    A correct completion always gets more than a wrong one.

    *Degenerate cases.* Where all correct completions of a group have the same length, or there is only one, each gets
    ``1 - weight / 2``. Without a correct completion, all get 0.

    Args:
        weight: at least 0 and below 1; 0 is the plain reward.

    Raises:
        ValueError: a number that is not finite, or a ``weight`` outside [0, 1).

    Example:
        >>> AroraZanette(weight=0.2)(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.tensor([12, 10]))
        tensor([0.9000, 0.0000])

    References:
        Arora and Zanette, "Training Language Models to Reason Efficiently", arXiv 2502.04463.
    """

    weight: float = 0.2

    def __post_init__(self) -> None:
        check_number("weight", self.weight, "a number of at least 0, below 1", lambda x: 0 <= x < 1)

    def shape(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
        correct: Bool[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """The reward of each completion, between 0 and 1."""
        groups = Groups.of(group_ids)
        earned = correct.to(rewards.dtype)
        count = groups.sum(earned).clamp(min=1)
        deviation = lengths - (groups.sum(earned * lengths) / count)[groups.of_row]
        std = (groups.sum(earned * deviation.square()) / count).sqrt()[groups.of_row]
        z = torch.where(std > 0, deviation / torch.where(std > 0, std, 1), 0)
        return earned * (1 - self.weight * z.sigmoid())
