"""The probability that one of k samples is right."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from iapo.ops.shapes import shape_checked


@shape_checked
def pass_at_k(right: Int[Tensor, " problem"], samples: int, k: int) -> Float[Tensor, " problem"]:
    """Unbiased probability that at least one of k samples is right: ``1 - C(n - c, k) / C(n, k)``.

    Args:
        right: right samples ``c`` of each problem.
        samples: samples ``n`` per problem.
        k: how many of the samples are looked at.

    Returns:
        One probability per problem, float64.

    Raises:
        ValueError: ``k`` outside 1 to ``samples``, or more right samples than there are, or fewer than none.

    Example:
        >>> pass_at_k(torch.tensor([0, 1, 4]), samples=4, k=2).tolist()
        [0.0, 0.5, 1.0]

    References:
        Chen et al. 2021, arXiv 2107.03374, equation 1.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"k: got {k}, want 1 to the number of samples, {samples}")
    if bool(((right < 0) | (right > samples)).any()):
        raise ValueError(f"right: got {right.tolist()}, want numbers from 0 to the number of samples, {samples}")
    before = torch.arange(k, dtype=torch.float64)
    wrong = (samples - right).double()[:, None]
    return 1 - ((wrong - before).clamp(min=0) / (samples - before)).prod(1)
