"""Surrogate losses, one method a file. The interface is `iapo.PolicyLoss`."""

from iapo.losses.aggregate import with_advantages
from iapo.losses.cispo import CISPO
from iapo.losses.clipped import ClippedPolicyLoss, clipped_surrogate
from iapo.losses.gspo import GSPO
from iapo.losses.kl import kl_estimate
from iapo.losses.ratios import log_ratio, truncated_ratio

__all__ = [
    "CISPO",
    "GSPO",
    "ClippedPolicyLoss",
    "clipped_surrogate",
    "kl_estimate",
    "log_ratio",
    "truncated_ratio",
    "with_advantages",
]
