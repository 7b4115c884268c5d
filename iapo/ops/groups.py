"""Statistics over groups of rows. Rows with equal ids are a group, in any order."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from iapo.ops.masked import masked_extremes, masked_sum


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of the rows of a batch, numbered from 0 in ascending order of their ids.

    Statistics have one entry a group; indexed by `of_row` they are those of each row's group.

    Args:
        ids: of each group.
        of_row: the number of each row's group.
        size: rows of each group.

    Example:
        >>> groups = Groups.of(torch.tensor([7, 3, 7]))
        >>> mean = groups.mean(torch.tensor([1.0, 5.0, 3.0]))
        >>> mean, mean[groups.of_row]
        (tensor([5., 2.]), tensor([2., 5., 2.]))
    """

    ids: Int[Tensor, " groups"]
    of_row: Int[Tensor, " batch"]
    size: Int[Tensor, " groups"]

    @classmethod
    def of(cls, group_ids: Int[Tensor, " batch"]) -> "Groups":
        """The groups that the ids of rows make."""
        return cls(*group_ids.unique(return_inverse=True, return_counts=True))

    def sum(self, values: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "groups ..."]:
        """Sum of ``values`` over the rows of each group."""
        empty = torch.zeros(len(self.size), *values.shape[1:], dtype=values.dtype, device=values.device)
        return empty.index_add(0, self.of_row, values)

    def mean(self, values: Float[Tensor, " batch"]) -> Float[Tensor, " groups"]:
        """Mean of ``values`` in each group."""
        return self.sum(values) / self.size

    def min(self, values: Float[Tensor, " batch"]) -> Float[Tensor, " groups"]:
        """Smallest of ``values`` in each group."""
        empty = torch.zeros(len(self.size), dtype=values.dtype, device=values.device)
        return empty.scatter_reduce(0, self.of_row, values, "amin", include_self=False)

    def max(self, values: Float[Tensor, " batch"]) -> Float[Tensor, " groups"]:
        """Largest of ``values`` in each group."""
        return -self.min(-values)

    def constant(self, values: Float[Tensor, " batch"]) -> Bool[Tensor, " groups"]:
        """Whether all ``values`` of a group are equal, bitwise."""
        return self.max(values) == self.min(values)

    def rank(self, values: Shaped[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """How many rows of its group stand before each: those of smaller values, and of equal ones those before it.

        Example:
            >>> Groups.of(torch.tensor([0, 0, 1, 0])).rank(torch.tensor([5, 3, 1, 3]))
            tensor([2, 0, 0, 1])
        """
        order = values.argsort(stable=True)
        order = order[self.of_row[order].argsort(stable=True)]
        rank = torch.arange(len(order), device=order.device) - (self.size.cumsum(0) - self.size)[self.of_row[order]]
        return torch.empty_like(order).index_copy(0, order, rank)

    def first(self, among: Bool[Tensor, " batch"], count: int) -> Bool[Tensor, " batch"]:
        """The first ``count`` rows ``among`` those of each group, in the order of the batch.

        Example:
            >>> Groups.of(torch.tensor([0, 0, 1, 0])).first(torch.tensor([False, True, True, True]), count=1)
            tensor([False,  True,  True, False])
        """
        return among & (self.rank((~among).long()) < count)

    def masked_mean(
        self, values: Float[Tensor, "batch token"], mask: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, " groups"]:
        """Mean of ``values`` where ``mask`` in each group, as `iapo.ops.masked.masked_mean`; 0 over nothing."""
        return self.sum(masked_sum(values, mask, 1)) / self.sum(mask.sum(1)).clamp(min=1)

    def masked_std(
        self, values: Float[Tensor, "batch token"], mask: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, " groups"]:
        """Population standard deviation where ``mask`` in each group, as `iapo.ops.masked.masked_std`.

        Constant values give exactly 0, without rounding noise; so does nothing.
        """
        deviation = values - self.masked_mean(values, mask)[self.of_row, None]
        spread = self.masked_mean(deviation.square(), mask).sqrt()
        low, high = masked_extremes(values, mask, 1)
        return spread.masked_fill(self.max(high) <= self.min(low), 0)

    def refuse_singletons(self) -> None:
        """Raise ``ValueError`` if a group has only one row, a completion; the message gives its id."""
        alone = self.of_row[(self.size == 1)[self.of_row]]
        if len(alone):
            raise ValueError(
                f"group_ids: group {int(self.ids[alone[0]])} has one completion, which has no baseline; sample at "
                "least 2 per prompt or set allow_singletons=True"
            )
