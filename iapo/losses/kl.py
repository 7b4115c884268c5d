"""Estimates of the KL divergence to a reference policy from sampled tokens."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from iapo.ops.shapes import shape_checked

KLEstimator = Literal["k1", "k2", "k3"]


@shape_checked
def kl_estimate(
    log_ratio_to_reference: Float[Tensor, "batch token"], estimator: KLEstimator = "k3"
) -> Float[Tensor, "batch token"]:
    """An estimate of ``KL(pi || pi_ref)`` at each token, nats, with ``r = pi_ref / pi``.

    ========= =================== ================== =======================================================
    estimator value               for the KL         its gradient as a loss, on policy, in expectation
    ========= =================== ================== =======================================================
    ``k1``    ``-log r``          unbiased           0: it penalizes nothing and is for monitoring only
    ``k2``    ``(log r)^2 / 2``   biased, at least 0 that of ``KL(pi || pi_ref)``
    ``k3``    ``r - log r - 1``   unbiased, at least that of ``KL(pi_ref || pi)``
                                  0
    ========= =================== ================== =======================================================

    Args:
        log_ratio_to_reference: ``log(pi / pi_ref)`` of tokens sampled from ``pi``, nats.
        estimator: a row of the table.

    Example:
        >>> kl_estimate(torch.tensor([[0.0, 2.0]]), "k2")
        tensor([[0., 2.]])

    References:
        Schulman, "Approximating KL divergence" (2020); arXiv 2402.03300, equation 4, for k3 in a loss.
    """
    if estimator == "k1":
        return log_ratio_to_reference
    if estimator == "k2":
        return log_ratio_to_reference.square() / 2
    return torch.expm1(-log_ratio_to_reference) + log_ratio_to_reference
