"""ThinkPrune's reward: correct, and within a limit that shrinks."""

import dataclasses
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.parameters import check_scheduled
from iapo.advantages.schedules import Schedule, resolved_weight, weight_at
from iapo.advantages.shaping.interface import RewardShaping


@dataclass(frozen=True)
class ThinkPrune(RewardShaping):
    """``1[correct and n <= limit]``; the limit may be a schedule.

    The paper trains in stages with one limit each, and stops sampling at the limit. With a schedule the limit shrinks
    from update to update, and completions may be longer than it. The original rewards do not count, only which
    completions are correct.

    *Degenerate cases.* Without a correct completion within the limit, all rewards are 0.

    Args:
        limit: tokens, a number or a schedule such as ``Linear(start=64, end=32)``.

    Raises:
        ValueError: a number that is not finite, or a ``limit`` that is not positive, at an end of its schedule; on a
            call, a schedule without `at`.

    Example:
        >>> import torch
        >>> from iapo.advantages.schedules import Linear
        >>> shaping = ThinkPrune(limit=Linear(start=64, end=32)).at(0.5)
        >>> shaping(torch.tensor([1.0, 1.0]), torch.tensor([0, 0]), torch.tensor([48, 49]))
        tensor([1., 0.])

    References:
        Hou et al., "ThinkPrune", arXiv 2504.01296.
    """

    limit: float | Schedule

    def __post_init__(self) -> None:
        check_scheduled("limit", self.limit, "a positive number of tokens", lambda x: x > 0)

    def at(self, progress: float) -> RewardShaping:
        """The shaping with its limit at a moment of training."""
        return dataclasses.replace(self, limit=weight_at(self.limit, progress))

    def shape(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
        correct: Bool[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """1 if correct and within the limit, else 0."""
        within = lengths <= resolved_weight("limit", self.limit)
        return (correct & within).to(rewards.dtype)
