"""How far apart two computations of the same numbers may be, if they only add in different orders."""

import torch
from torch import Tensor, nn


def rounding(model: nn.Module, *values: Tensor) -> float:
    """The absolute difference that rounding explains between two forwards of ``model`` that add in different orders.

    ``8 * epsilon * sqrt(n) * max(1, |values|)``. ``n`` is the number of products that are added up, layer by layer, on
    the way to a logit; their rounding errors have random signs, so that they grow as the root. Sizes matter, because
    every number is rounded relative to itself: a difference of two log-probabilities has the error of these. So the
    tolerance holds on every processor, whatever the order in which its kernels add. For the tiny llamas it is 2e-5.

    Args:
        model: says the precision and how many products are added.
        values: the log-probabilities, entropies or probes that are compared or subtracted from each other, not their
            differences.
    """
    weights = [weight for weight in model.parameters() if weight.ndim > 1]
    count = sum(min(weight.shape[-2:]) for weight in weights)
    size = max([1.0, *(float(value.detach().abs().max()) for value in values if value.numel())])
    return 8 * torch.finfo(weights[0].dtype).eps * count**0.5 * size
