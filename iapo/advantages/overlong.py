"""Leave out completions that were cut off at the length limit (DAPO's overlong filtering)."""

from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from iapo.advantages.subset import assign_subset
from iapo.advantages.wrapping import WrappingAssigner
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_integer, check_kinds
from iapo.ops.groups import Groups
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class OverlongFiltered(WrappingAssigner):
    """``outcome``'s advantages over the completions shorter than ``max_length``; the others are left out.

    A completion that was cut off says nothing about how good its reasoning was. It gets advantage 0, leaves the loss
    mask, and counts in no baseline. Only its length is known here: a completion that ends by itself at token number
    ``max_length`` counts as cut off, too.

    *Degenerate cases.* Where one completion of a group of several would remain, it would have no baseline, and is left
    out too. If all completions are left out, the loss mask is empty.

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
        DAPO, arXiv 2503.14476, section 3.4 (overlong filtering). There only the loss of these completions is masked;
        they still count in the baseline.
    """

    outcome: AdvantageAssigner
    max_length: int

    def __post_init__(self) -> None:
        check_kinds(self)
        check_integer("max_length", self.max_length)

    def wants_information(self, inputs: AdvantageInputs) -> Bool[Tensor, " batch"]:
        """Of the completions that remain, those whose information the outcome reads."""
        kept = self._kept(inputs)
        rows = kept.nonzero().flatten()
        return kept.index_copy(0, rows, self.outcome.wants_information(inputs.select(rows)))

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages over the completions that remain."""
        return assign_subset(self.outcome, inputs, self._kept(inputs))

    def _kept(self, inputs: AdvantageInputs) -> Bool[Tensor, " batch"]:
        groups = Groups.of(inputs.group_ids)
        whole = inputs.completion_mask.sum(1) < self.max_length
        alone = (groups.sum(whole.float()) == 1) & (groups.size > 1)
        return whole & ~alone[groups.of_row]
