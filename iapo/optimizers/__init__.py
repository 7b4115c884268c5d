"""Optimizers of a policy. The interface is `iapo.PolicyOptimizer`."""

from iapo.optimizers.clipped import ClippedOptimizer

__all__ = ["ClippedOptimizer"]
