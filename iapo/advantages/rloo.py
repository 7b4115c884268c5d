"""Leave-one-out advantages: a completion against the mean of the others (RLOO)."""

from dataclasses import dataclass

import torch

from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_kinds
from iapo.ops.groups import Groups
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class RLOO(AdvantageAssigner):
    """RLOO: ``A_i = r_i - mean_{j != i} r_j`` over the group, the same for every token of completion ``i``.

    A completion's baseline does not depend on the completion itself, so that the gradient is unbiased. The advantage is
    ``G / (G - 1)`` times the reward's deviation from the group's mean.

    *Degenerate cases.* A group whose rewards are all equal has advantage exactly 0. A completion without tokens has no
    token to get an advantage, but counts in its group's means. A group of one has no baseline: an error, unless
    ``allow_singletons``, which gives it advantage 0.

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

    def __post_init__(self) -> None:
        check_kinds(self)

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """Each reward minus the mean of the group's others."""
        rewards, mask = inputs.rewards, inputs.completion_mask
        groups = Groups.of(inputs.group_ids)
        if not self.allow_singletons:
            groups.refuse_singletons()
        others = (groups.size - 1).clamp(min=1)[groups.of_row]
        baseline = (groups.sum(rewards)[groups.of_row] - rewards) / others
        advantage = torch.where(groups.constant(rewards)[groups.of_row], 0, rewards - baseline)
        return AdvantageOutput(advantage[:, None] * mask, mask, {})
