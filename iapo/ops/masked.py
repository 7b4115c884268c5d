"""Masked reductions, defined for an empty mask too.

Sums, means and standard deviations over nothing are 0. Values outside the mask have no influence, NaN included.
Reductions run in fp32 or better.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.ops.precision import widened


def masked_sum(values: Float[Tensor, "*axes"], mask: Bool[Tensor, "*axes"], dim: int | None = None) -> Tensor:
    """Sum of ``values`` where ``mask``; 0 where the mask is empty.

    Args:
        values: any shape.
        mask: the same shape.
        dim: axis to reduce; ``None``: all of them.
    """
    clean = widened(values).masked_fill(~mask, 0)
    return clean.sum() if dim is None else clean.sum(dim)


def masked_mean(values: Float[Tensor, "*axes"], mask: Bool[Tensor, "*axes"], dim: int | None = None) -> Tensor:
    """Mean of ``values`` where ``mask``; 0 where the mask is empty. Arguments as `masked_sum`."""
    count = mask.sum() if dim is None else mask.sum(dim)
    return masked_sum(values, mask, dim) / count.clamp(min=1)


def masked_std(values: Float[Tensor, "*axes"], mask: Bool[Tensor, "*axes"], dim: int | None = None) -> Tensor:
    """Population standard deviation (divides by the count) where ``mask``; 0 over no or one entry.

    Arguments as `masked_sum`. Constant values give exactly 0, without rounding noise.
    """
    mean = masked_mean(values, mask, dim)
    deviation = widened(values) - (mean if dim is None else mean.unsqueeze(dim))
    spread = masked_mean(deviation.square(), mask, dim).sqrt()
    low, high = masked_extremes(values, mask, dim)
    return spread.masked_fill(high <= low, 0)


def masked_extremes(
    values: Float[Tensor, "*axes"], mask: Bool[Tensor, "*axes"], dim: int | None = None
) -> tuple[Tensor, Tensor]:
    """Smallest and largest of ``values`` where ``mask``; infinity and minus infinity where the mask is empty.

    Arguments as `masked_sum`.
    """
    low, high = widened(values).masked_fill(~mask, torch.inf), widened(values).masked_fill(~mask, -torch.inf)
    if values.numel() == 0:
        nothing = masked_sum(values, mask, dim)
        return nothing + torch.inf, nothing - torch.inf
    return (low.min(), high.max()) if dim is None else (low.amin(dim), high.amax(dim))


def beside(mask: Bool[Tensor, "batch token"]) -> Bool[Tensor, "batch probe"]:
    """``True`` at the prefixes that end in front of a masked token or behind one, ``probe = token + 1``.

    These are the prefixes whose values a difference over a masked token reads.

    Example:
        >>> beside(torch.tensor([[False, True, False, False]]))
        tensor([[False,  True,  True, False, False]])
    """
    padded = torch.nn.functional.pad(mask, (1, 1))
    return padded[:, 1:] | padded[:, :-1]
