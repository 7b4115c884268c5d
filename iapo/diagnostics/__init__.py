"""Diagnostics of training: the effect of an update on lengths, where information lies, the policy's entropy.

All are functions of tensors. Estimates have a standard error over groups (prompts). Where there is nothing to
estimate, a function returns ``None`` or leaves the name out.
"""

from iapo.diagnostics.change_of_length import LengthChange, length_change, realized_length_change
from iapo.diagnostics.entropy import entropy_by_correctness
from iapo.diagnostics.estimate import Estimate, group_covariances, ratio_of_sums, sum_by_group
from iapo.diagnostics.gradient_of_length import length_gradient, loss_pull
from iapo.diagnostics.information import information_slope
from iapo.diagnostics.token_classes import classify_completions, information_by_class

__all__ = [
    "Estimate",
    "LengthChange",
    "classify_completions",
    "entropy_by_correctness",
    "group_covariances",
    "information_by_class",
    "information_slope",
    "length_change",
    "length_gradient",
    "loss_pull",
    "ratio_of_sums",
    "realized_length_change",
    "sum_by_group",
]
