"""Statistics over groups of rows. Rows with equal ``group_ids`` are a group, in any order.

The functions take groups numbered from 0, as ``group_ids.unique(return_inverse=True, return_counts=True)`` returns
them: ``group`` is the group of each row, ``size`` the number of rows of each group.
"""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from iapo.ops.masked import masked_extremes, masked_sum


def group_sum(
    values: Shaped[Tensor, "batch ..."], group: Int[Tensor, " batch"], size: Int[Tensor, " groups"]
) -> Shaped[Tensor, "groups ..."]:
    """Sum of ``values`` over the rows of each group."""
    empty = torch.zeros(len(size), *values.shape[1:], dtype=values.dtype, device=values.device)
    return empty.index_add(0, group, values)


def group_mean(
    values: Float[Tensor, " batch"], group: Int[Tensor, " batch"], size: Int[Tensor, " groups"]
) -> Float[Tensor, " groups"]:
    """Mean of ``values`` in each group."""
    return group_sum(values, group, size) / size


def group_min(
    values: Float[Tensor, " batch"], group: Int[Tensor, " batch"], size: Int[Tensor, " groups"]
) -> Float[Tensor, " groups"]:
    """Smallest of ``values`` in each group."""
    empty = torch.zeros(len(size), dtype=values.dtype, device=values.device)
    return empty.scatter_reduce(0, group, values, "amin", include_self=False)


def group_max(
    values: Float[Tensor, " batch"], group: Int[Tensor, " batch"], size: Int[Tensor, " groups"]
) -> Float[Tensor, " groups"]:
    """Largest of ``values`` in each group."""
    return -group_min(-values, group, size)


def group_constant(
    values: Float[Tensor, " batch"], group: Int[Tensor, " batch"], size: Int[Tensor, " groups"]
) -> Bool[Tensor, " groups"]:
    """Whether all ``values`` of a group are equal, bitwise."""
    return group_max(values, group, size) == group_min(values, group, size)


def group_rank(
    values: Shaped[Tensor, " batch"], group: Int[Tensor, " batch"], size: Int[Tensor, " groups"]
) -> Int[Tensor, " batch"]:
    """How many rows of its group stand before each: those of smaller values, and of equal ones those before it.

    Example:
        >>> group_rank(torch.tensor([5, 3, 1, 3]), torch.tensor([0, 0, 1, 0]), torch.tensor([3, 1]))
        tensor([2, 0, 0, 1])
    """
    order = values.argsort(stable=True)
    order = order[group[order].argsort(stable=True)]
    rank = torch.arange(len(order), device=order.device) - (size.cumsum(0) - size)[group[order]]
    return torch.empty_like(order).index_copy(0, order, rank)


def group_masked_mean(
    values: Float[Tensor, "batch token"],
    mask: Bool[Tensor, "batch token"],
    group: Int[Tensor, " batch"],
    size: Int[Tensor, " groups"],
) -> Float[Tensor, " groups"]:
    """Mean of ``values`` where ``mask`` in each group, as `iapo.ops.masked.masked_mean`; 0 over nothing."""
    count = group_sum(mask.sum(1), group, size)
    return group_sum(masked_sum(values, mask, 1), group, size) / count.clamp(min=1)


def group_masked_std(
    values: Float[Tensor, "batch token"],
    mask: Bool[Tensor, "batch token"],
    group: Int[Tensor, " batch"],
    size: Int[Tensor, " groups"],
) -> Float[Tensor, " groups"]:
    """Population standard deviation where ``mask`` in each group, as `iapo.ops.masked.masked_std`.

    Constant values give exactly 0, without rounding noise; so does nothing.
    """
    deviation = values - group_masked_mean(values, mask, group, size)[group, None]
    spread = group_masked_mean(deviation.square(), mask, group, size).sqrt()
    low, high = masked_extremes(values, mask, 1)
    return spread.masked_fill(group_max(high, group, size) <= group_min(low, group, size), 0)


def first_of_groups(
    among: Bool[Tensor, " batch"], group_ids: Int[Tensor, " batch"], count: int
) -> Bool[Tensor, " batch"]:
    """The first ``count`` rows ``among`` those of each group, in the order of the batch.

    Example:
        >>> first_of_groups(torch.tensor([False, True, True, True]), torch.tensor([0, 0, 1, 0]), count=1)
        tensor([False,  True,  True, False])
    """
    _, group, size = group_ids.unique(return_inverse=True, return_counts=True)
    return among & (group_rank((~among).long(), group, size) < count)


def refuse_singletons(
    group_ids: Int[Tensor, " batch"], group: Int[Tensor, " batch"], size: Int[Tensor, " groups"]
) -> None:
    """Raise ``ValueError`` if a group has only one completion; the message gives its id."""
    if bool((size == 1).any()):
        single = int(group_ids[(size == 1)[group]][0])
        raise ValueError(
            f"group_ids: group {single} has one completion, which has no baseline; sample at least 2 per prompt or "
            "set allow_singletons=True"
        )
