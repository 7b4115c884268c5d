"""Learn from the best few completions of a larger group (GFPO)."""

from dataclasses import dataclass
from typing import Literal

from iapo.advantages.group_relative import GroupRelative
from iapo.advantages.subset import assign_subset
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_choice, check_integer
from iapo.ops.groups import Groups
from iapo.types import AdvantageInputs, AdvantageOutput

By = Literal["length", "reward_per_token"]


@dataclass(frozen=True)
class GFPO(AdvantageAssigner):
    """GFPO: ``A_i = (r_i - mean_S) / (std_S + eps)`` for the ``keep`` best completions ``S`` of a group, 0 for others.

    The best are the shortest, or those with the highest reward per token. The others leave the loss mask, so that they
    do not count in a mean over tokens or completions either. The standard deviation is `GroupRelative`'s.

    *Degenerate cases.* Among equal completions, those that come first in the batch are kept. A group of at most
    ``keep`` completions is kept whole. Where all kept rewards are equal, the advantage is exactly 0. A completion
    without tokens has length 0, so that it is the shortest; its reward per token is its reward. A group of one is an
    error.

    Args:
        keep: completions kept of a group, at least 2.
        by: keep the shortest (``"length"``) or those of the highest ``"reward_per_token"``.
        eps: added to the standard deviation.

    Raises:
        ValueError: ``keep`` below 2, an unknown ``by``, a negative ``eps``; on a call, a group of one.

    Example:
        >>> import torch
        >>> mask = torch.tensor([[True, True], [True, False], [True, False]])
        >>> GFPO(keep=2)(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([4, 4, 4]), mask).loss_mask.any(1)
        tensor([False,  True,  True])

    References:
        Shrivastava et al., "Sample More to Think Less", arXiv 2508.09726, algorithm 1.
    """

    keep: int
    by: By = "length"
    eps: float = 1e-4

    def __post_init__(self) -> None:
        check_integer("keep", self.keep, least=2)
        check_choice("by", self.by, By)
        GroupRelative(eps=self.eps)

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """`GroupRelative`'s advantages over the best completions of each group."""
        lengths = inputs.completion_mask.sum(1)
        cost = lengths if self.by == "length" else -inputs.rewards / lengths.clamp(min=1)
        kept = Groups.of(inputs.group_ids).rank(cost) < self.keep
        return assign_subset(GroupRelative(eps=self.eps), inputs, kept)
