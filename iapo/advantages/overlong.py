"""Leave out completions that were cut off at the length limit (DAPO's overlong filtering)."""

import dataclasses
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.parameters import check_length
from iapo.advantages.subset import assign_subset
from iapo.interfaces import AdvantageAssigner
from iapo.ops.groups import group_sum
from iapo.types import AdvantageOutput, TokenSignals


@dataclass(frozen=True)
class OverlongFiltered(AdvantageAssigner):
    """``outcome``'s advantages over the completions shorter than ``max_length``; the others are left out.

    A completion that was cut off says nothing about how good its reasoning was. It gets advantage 0, leaves the loss
    mask, and counts in no baseline. Only lengths are seen: a completion that ends of itself with its token number
    ``max_length`` counts as cut off.

    *Degenerate cases.* Where the filter leaves one completion of a group of several, it has no baseline left and goes
    too. Everything left out: an empty loss mask.

    Args:
        outcome: assigns advantages to the completions that remain.
        max_length: tokens, the limit of the sampler.

    Raises:
        ValueError: ``max_length`` below 1.

    Example:
        >>> import torch
        >>> from iapo.advantages import GroupRelative
        >>> mask = torch.tensor([[True, True], [True, False], [True, False]])
        >>> assigner = OverlongFiltered(GroupRelative(scale="none"), max_length=2)
        >>> assigner(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([4, 4, 4]), mask).advantages[:, 0]
        tensor([ 0.0000,  0.5000, -0.5000])

    References:
        DAPO, arXiv 2503.14476, section 3.4 (overlong filtering). There the filtered loss alone is masked.
    """

    outcome: AdvantageAssigner
    max_length: int

    def __post_init__(self) -> None:
        check_length("max_length", self.max_length)

    @property
    def requires(self) -> frozenset[str]:
        """The outcome's signals."""
        return self.outcome.requires

    def wants_information(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        completion_mask: Bool[Tensor, "batch token"],
    ) -> Bool[Tensor, " batch"]:
        """Of those that are not left out, the outcome's answer."""
        kept = self._kept(group_ids, completion_mask)
        return kept & self.outcome.wants_information(rewards, group_ids, completion_mask)

    def at(self, progress: float) -> AdvantageAssigner:
        """With the outcome's weights of the moment."""
        return dataclasses.replace(self, outcome=self.outcome.at(progress))

    def assign(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        completion_mask: Bool[Tensor, "batch token"],
        signals: TokenSignals,
    ) -> AdvantageOutput:
        """See the class."""
        kept = self._kept(group_ids, completion_mask)
        return assign_subset(self.outcome, kept, rewards, group_ids, completion_mask, signals)

    def _kept(
        self, group_ids: Int[Tensor, " batch"], completion_mask: Bool[Tensor, "batch token"]
    ) -> Bool[Tensor, " batch"]:
        _, group, size = group_ids.unique(return_inverse=True, return_counts=True)
        whole = completion_mask.sum(1) < self.max_length
        bereft = (group_sum(whole.float(), group, size) == 1) & (size > 1)
        return whole & ~bereft[group]
