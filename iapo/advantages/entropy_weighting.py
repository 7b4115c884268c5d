"""Rewards that are divided among tokens, or completions, by policy entropy: the common part of GTPO and GRPO-S."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.normalization import normalize
from iapo.advantages.parameters import check_weights
from iapo.interfaces import AdvantageAssigner
from iapo.ops.groups import Groups
from iapo.types import AdvantageInputs, AdvantageOutput

_LEAST_ENTROPY = 1e-6
"""Nats. Entropies are raised to it: a wrong token's weight is the reciprocal."""

_EPS = 1e-6
"""Added to the standard deviation: float64 rounding of equal rewards must not be scaled up to 1."""


@dataclass(frozen=True)
class EntropyWeighted(AdvantageAssigner):
    """Base of `GTPO` and `GRPOS`, which describe the arguments.

    They differ in what gets a share: a token or a whole completion.
    """

    outcome_weight: float = 1.0
    entropy_weight: float = 0.1

    def __post_init__(self) -> None:
        check_weights(outcome_weight=self.outcome_weight, entropy_weight=self.entropy_weight)

    @property
    def requires(self) -> frozenset[str]:
        """The policy's entropy."""
        return frozenset({"policy_entropy"})

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The z-scored shares of the two sets, correct and wrong."""
        assert inputs.signals.policy_entropy is not None
        entropy, mask = self.columns(inputs.signals.policy_entropy, inputs.completion_mask)
        advantages = entropy_weighted(
            inputs.rewards,
            inputs.group_ids,
            entropy=entropy,
            mask=mask,
            correct=inputs.correct,
            outcome_weight=self.outcome_weight,
            entropy_weight=self.entropy_weight,
        )
        advantages = advantages.to(inputs.rewards.dtype) * inputs.completion_mask
        return AdvantageOutput(advantages, inputs.completion_mask, {})

    @abstractmethod
    def columns(
        self, entropy: Float[Tensor, "batch token"], completion_mask: Bool[Tensor, "batch token"]
    ) -> tuple[Float[Tensor, "batch column"], Bool[Tensor, "batch column"]]:
        """Hook: the entropy of each column, nats, and which entries exist.

        A column is a token position, or the whole completion; a single column holds for all tokens.
        """


def entropy_weighted(
    rewards: Float[Tensor, " batch"],
    group_ids: Int[Tensor, " batch"],
    entropy: Float[Tensor, "batch column"],
    mask: Bool[Tensor, "batch column"],
    correct: Bool[Tensor, " batch"],
    outcome_weight: float,
    entropy_weight: float,
) -> Float[Tensor, "batch column"]:
    """Z-scored shaped rewards. Correct and wrong rows are two separate sets, each within its group.

    With ``d`` the number of the group's correct rows that have the column, ``n`` of its wrong ones::

        correct   outcome_weight * r + entropy_weight * d * H / sum_correct H
        wrong    -outcome_weight     - entropy_weight * n * (1 / H) / sum_wrong (1 / H)

    Args:
        rewards: one per row.
        group_ids: rows with equal ids are a group.
        entropy: ``H``, nats, raised to 1e-6 where it is less; a column is a token position, or the whole completion.
        mask: which entries exist.
        correct: which rows are correct.
        outcome_weight: weight of the reward.
        entropy_weight: weight of the share.

    Returns:
        In float64; 0 outside ``mask``.
    """
    groups = Groups.of(group_ids)
    entropy = entropy.double().masked_fill(~mask, 1.0).clamp(min=_LEAST_ENTROPY)
    right, wrong = mask & correct[:, None], mask & ~correct[:, None]

    def share(weight: Tensor, rows: Tensor) -> Tensor:
        weight = weight * rows
        total = groups.sum(weight)[groups.of_row]
        return groups.sum(rows.double())[groups.of_row] * weight / torch.where(total > 0, total, 1)

    gained = outcome_weight * rewards.double()[:, None] + entropy_weight * share(entropy, right)
    lost = -outcome_weight - entropy_weight * share(1 / entropy, wrong)
    return normalize(gained, right, group_ids, "group", eps=_EPS) + normalize(lost, wrong, group_ids, "group", eps=_EPS)
