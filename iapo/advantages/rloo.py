"""Leave-one-out advantages: a completion against the mean of the others (RLOO)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.interfaces import AdvantageAssigner
from iapo.ops.groups import group_constant, group_sum, refuse_singletons
from iapo.types import AdvantageOutput, TokenSignals


@dataclass(frozen=True)
class RLOO(AdvantageAssigner):
    """RLOO: ``A_i = r_i - mean_{j != i} r_j`` over the group, the same for every token of completion ``i``.

    The baseline does not depend on the completion that it judges, so that the gradient is unbiased; it is
    ``G / (G - 1)`` times the reward's deviation from the group's mean.

    *Degenerate cases.* A group whose rewards are all equal has advantage exactly 0. A completion without tokens has no
    advantage to carry but counts in its group. A group of one has no baseline: an error, unless ``allow_singletons``,
    which gives it advantage 0.

    Args:
        allow_singletons: accept groups of one.

    Raises:
        ValueError: on a call, a group of one that is not allowed.

    Example:
        >>> mask = torch.ones(3, 2, dtype=torch.bool)
        >>> RLOO()(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([7, 7, 7]), mask).advantages[:, 0]
        tensor([ 1.0000, -0.5000, -0.5000])

    References:
        Ahmadian et al., "Back to Basics", arXiv 2402.14740, the RLOO estimator.
    """

    allow_singletons: bool = False

    def assign(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        completion_mask: Bool[Tensor, "batch token"],
        signals: TokenSignals,
    ) -> AdvantageOutput:
        """See the class."""
        _, group, size = group_ids.unique(return_inverse=True, return_counts=True)
        if not self.allow_singletons:
            refuse_singletons(group_ids, group, size)
        others = (size - 1).clamp(min=1)[group]
        baseline = (group_sum(rewards, group, size)[group] - rewards) / others
        advantage = torch.where(group_constant(rewards, group, size)[group], 0, rewards - baseline)
        return AdvantageOutput(advantage[:, None] * completion_mask, completion_mask, {})
