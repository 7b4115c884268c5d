"""Surrogate losses. The interface is `iapo.PolicyLoss`."""

from iapo.losses.clipped import ClippedPolicyLoss, clipped_surrogate, kl_k3, log_ratio

__all__ = ["ClippedPolicyLoss", "clipped_surrogate", "kl_k3", "log_ratio"]
