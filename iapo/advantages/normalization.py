"""Center and scale token values over the completion, the group, or the batch."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.ops.groups import Groups
from iapo.ops.masked import masked_mean, masked_std

Center = Literal["completion", "group", "batch"]
Scale = Literal["std", "none"]


def normalize(
    values: Float[Tensor, "batch token"],
    mask: Bool[Tensor, "batch token"],
    group_ids: Int[Tensor, " batch"],
    center: Center,
    scale: Scale = "std",
    eps: float = 0.0,
    resolution: float = 0.0,
) -> Float[Tensor, "batch token"]:
    """``(values - mean) / (std + eps)`` over the masked tokens that share a completion, a group, or the batch.

    The standard deviation divides by the count. The result is 0 outside ``mask``, and exactly 0 where all values are
    equal, up to ``resolution``. It is computed in float64: where values are nearly equal, the rounding errors of their
    mean would be scaled up together with the values.

    Args:
        values: those outside ``mask`` are not used; they may be NaN.
        mask: the tokens that count.
        group_ids: completions with equal ids are a group.
        center: the tokens over which mean and standard deviation are taken.
        scale: ``"std"`` divides by the standard deviation, ``"none"`` only subtracts the mean.
        eps: added to the standard deviation.
        resolution: values whose standard deviation is at most this count as equal.

    Returns:
        The values' dtype, fp32 at least.

    Example:
        >>> mask, ids = torch.ones(2, 2, dtype=torch.bool), torch.tensor([3, 3])
        >>> normalize(torch.tensor([[1.0, 3.0], [5.0, 7.0]]), mask, ids, "group", "none")
        tensor([[-3., -1.],
                [ 1.,  3.]])
    """
    dtype, values = torch.promote_types(values.dtype, torch.float32), values.double()
    if center == "batch":
        mean, std = masked_mean(values, mask), masked_std(values, mask)
    elif center == "completion":
        mean, std = masked_mean(values, mask, 1)[:, None], masked_std(values, mask, 1)[:, None]
    else:
        groups = Groups.of(group_ids)
        mean = groups.masked_mean(values, mask)[groups.of_row, None]
        std = groups.masked_std(values, mask)[groups.of_row, None]
    divisor = std + eps if scale == "std" else 1
    return ((values - mean) / divisor).masked_fill(~(mask & (std > resolution)), 0).to(dtype)
