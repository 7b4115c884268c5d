"""Surrogate losses, one method a file. The interface is `iapo.PolicyLoss`."""

from iapo.losses.cispo import CISPO
from iapo.losses.clipped import ClippedPolicyLoss, clipped_surrogate, kl_k3
from iapo.losses.gspo import GSPO
from iapo.losses.ratios import log_ratio

__all__ = ["CISPO", "GSPO", "ClippedPolicyLoss", "clipped_surrogate", "kl_k3", "log_ratio"]
