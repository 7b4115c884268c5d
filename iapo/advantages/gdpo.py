"""Each reward normalized by itself before they are summed (GDPO)."""

from dataclasses import dataclass

import torch

from iapo.advantages.group_relative import GroupRelative
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_kinds, is_finite_number
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class GDPO(AdvantageAssigner):
    """GDPO: ``A_i = sum_k w_k (r_ki - mean_g r_k) / (std_g r_k + eps)`` over the reward functions ``k``.

    Where the sum of several rewards is normalized, different combinations with the same sum get the same advantage, and
    the reward that varies most drowns the others. The paper's second step, over the batch, is
    `BatchWhitened`: the method is ``BatchWhitened(GDPO(), over="completions")``. The rewards of each function come as
    ``signals.reward_columns``; their sum is not read. The standard deviation is `GroupRelative`'s.

    *Degenerate cases.* A reward that is equal in all completions of a group adds exactly 0 there. With one reward
    function and without weights it is `GroupRelative`. A group of one has no baseline: an error, unless
    ``allow_singletons``.

    Args:
        weights: one per reward function, in their order; ``None``: 1 for each.
        eps: added to the standard deviations.
        allow_singletons: accept groups of one.

    Raises:
        ValueError: no weight or one that is not finite, a negative ``eps``; on a call, another number of reward
            functions than of weights, or a group of one that is not allowed.

    Example:
        >>> from iapo import TokenSignals
        >>> mask, ids = torch.ones(3, 1, dtype=torch.bool), torch.tensor([0, 0, 0])
        >>> columns = torch.tensor([[1.0, 0.0], [0.0, 9.0], [0.0, 0.0]])
        >>> assigner = GDPO(weights=(1.0, 0.25), eps=0.0)
        >>> assigner(columns.sum(1), ids, mask, TokenSignals(reward_columns=columns)).advantages[:, 0]
        tensor([ 1.0104, -0.2887, -0.7217])

    References:
        Liu et al., "GDPO: Group reward-Decoupled Normalization Policy Optimization", arXiv 2601.05242.
    """

    weights: tuple[float, ...] | None = None
    eps: float = 1e-4
    allow_singletons: bool = False

    def __post_init__(self) -> None:
        check_kinds(self)
        if self.weights is not None and not (
            isinstance(self.weights, tuple) and self.weights and all(map(is_finite_number, self.weights))
        ):
            raise ValueError(f"weights: got {self.weights!r}, want None or a tuple of finite numbers, not empty")
        GroupRelative(eps=self.eps)

    @property
    def requires(self) -> frozenset[str]:
        """The rewards of each function."""
        return frozenset({"reward_columns"})

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The weighted sum of each reward's z-score in its group."""
        columns, mask = inputs.signals.reward_columns, inputs.completion_mask
        assert columns is not None
        weights = (1.0,) * columns.shape[1] if self.weights is None else self.weights
        if len(weights) != columns.shape[1]:
            raise ValueError(f"weights: got {len(weights)} for {columns.shape[1]} reward functions")
        each = GroupRelative(eps=self.eps, allow_singletons=self.allow_singletons)
        total = torch.zeros_like(mask, dtype=inputs.rewards.dtype)
        for weight, rewards in zip(weights, columns.to(inputs.rewards.dtype).unbind(1), strict=True):
            total = total + weight * each(rewards, inputs.group_ids, mask).advantages
        return AdvantageOutput(total, mask, {})
