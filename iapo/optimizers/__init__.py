"""Optimizers of a policy. The interface is `iapo.PolicyOptimizer`."""

from iapo.optimizers.clipped import ClippedOptimizer
from iapo.optimizers.deepspeed import DeepSpeedOptimizer

__all__ = ["ClippedOptimizer", "DeepSpeedOptimizer"]
