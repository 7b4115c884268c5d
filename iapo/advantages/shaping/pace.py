"""PACE's reward: a length reward that counts where a prompt is easy, and fades in the course of training."""

import dataclasses
import math
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.parameters import check_weights
from iapo.advantages.schedules import Schedule, resolved_weight, weight_at
from iapo.advantages.shaping.interface import RewardShaping
from iapo.advantages.shaping.kimi import KimiLength
from iapo.ops.groups import Groups


@dataclass(frozen=True)
class PaceLength(RewardShaping):
    """PACE: `KimiLength`'s reward for the length, times ``weight * (1 - cos(a * pi / 2))``.

    ``a`` is the share of the prompt's completions that are correct: the length counts fully where all are, and not at
    all where none is. In the paper the weight falls from 1 to 0 over the first 600 updates:
    ``weight=Linear(start=1.0, end=0.0)`` makes it fall over the whole training. Of PACE only the reward is here, not
    the protection of prefixes, which is part of sampling.

    *Degenerate cases.* Where all lengths of a group are equal, or none of its completions is correct, its rewards do
    not change.

    Args:
        weight: of the length reward, a number or a schedule.

    Raises:
        ValueError: a number that is not finite, or a negative ``weight``, at an end of its schedule; on a call, a
            schedule without `at`.

    Example:
        >>> import torch
        >>> PaceLength(weight=1.0)(torch.tensor([1.0, 1.0]), torch.tensor([0, 0]), torch.tensor([10, 20]))
        tensor([1.5000, 0.5000])

    References:
        PACE, arXiv 2602.11639, the reward for the length, its difficulty and its decay, after the authors' code.
    """

    weight: float | Schedule = 1.0

    def __post_init__(self) -> None:
        check_weights(weight=self.weight)

    def at(self, progress: float) -> RewardShaping:
        """The shaping with its weight at a moment of training."""
        return dataclasses.replace(self, weight=weight_at(self.weight, progress))

    def shape(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
        correct: Bool[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """The rewards plus the weighted length reward."""
        groups = Groups.of(group_ids)
        solved = groups.mean(correct.to(rewards.dtype))[groups.of_row]
        kimi = KimiLength(weight=resolved_weight("weight", self.weight)).shape(rewards, group_ids, lengths, correct)
        return rewards + (1 - (solved * math.pi / 2).cos()) * (kimi - rewards)
