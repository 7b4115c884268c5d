"""Kimi k1.5's length reward: from the shortest to the longest completion of a group it falls linearly."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.parameters import check_weights
from iapo.advantages.shaping.interface import RewardShaping
from iapo.ops.groups import Groups


@dataclass(frozen=True)
class KimiLength(RewardShaping):
    """``r + weight * lambda`` if correct, ``r + weight * min(0, lambda)`` if not; ``lambda`` falls with the length.

    ``lambda = 0.5 - (n - min) / (max - min)``, with the shortest and longest length of the group, wrong completions
    included: 0.5 for the shortest, -0.5 for the longest. A wrong completion never gains by being short.

    *Degenerate cases.* Where all lengths of a group are equal, its rewards do not change.

    Args:
        weight: of the length reward.

    Raises:
        ValueError: a number that is not finite, or a negative ``weight``.

    Example:
        >>> KimiLength()(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0, 0, 0]), torch.tensor([2, 4, 3]))
        tensor([1.5000, 0.5000, 0.0000])

    References:
        Kimi k1.5, arXiv 2501.12599, section on the length penalty.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        check_weights(weight=self.weight)

    def shape(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
        correct: Bool[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """The rewards plus the length reward."""
        groups = Groups.of(group_ids)
        n = lengths.to(rewards.dtype)
        shortest, longest = groups.min(n)[groups.of_row], groups.max(n)[groups.of_row]
        lam = torch.where(longest > shortest, 0.5 - (n - shortest) / (longest - shortest).clamp(min=1), 0)
        return rewards + self.weight * torch.where(correct, lam, lam.clamp(max=0))
