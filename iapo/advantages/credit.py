"""Which token is credited with information: the one that carries it, or those that led there."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.ops.checks import check_number
from iapo.ops.shapes import shape_checked


@shape_checked
def information_to_go(
    information: Float[Tensor, "batch token"],
    mask: Bool[Tensor, "batch token"],
    discount: float | int,
) -> Float[Tensor, "batch token"]:
    """Discounted sum of the information that follows, the token's own included: ``g_t = s_t + discount * g_{t+1}``.

    A filler token carries no information and delays what follows, so that it is credited with less than the token after
    it. A reasoning step that enables a later one shares that one's information. The discount counts all tokens, masked
    ones included.

    The sum is computed in float64, in ``log2(token)`` doubling steps. Dividing by powers of the discount, the usual way
    to vectorize it, would overflow.

    Args:
        information: of each token, nats.
        mask: where information counts; it is 0 elsewhere.
        discount: between 0 (the token's own information) and 1 (all that follows counts the same).

    Returns:
        Nats, 0 outside ``mask``.

    Raises:
        ValueError: ``discount`` outside 0 to 1.

    Example:
        >>> mask = torch.ones(1, 3, dtype=torch.bool)
        >>> information_to_go(torch.tensor([[0.0, 0.0, 1.0]]), mask, 0.5)
        tensor([[0.2500, 0.5000, 1.0000]])
    """
    check_number("discount", discount, "a number from 0 to 1", lambda x: 0 <= x <= 1)
    total = information.masked_fill(~mask, 0).double()
    step, factor = 1, discount
    while step < total.shape[1]:
        ahead = torch.nn.functional.pad(total[:, step:], (0, step))
        total = total + factor * ahead
        step, factor = 2 * step, factor * factor
    return total.to(information.dtype).masked_fill(~mask, 0)
