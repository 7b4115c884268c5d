"""Completion rewards weighted by mean policy entropy (GRPO-S)."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.entropy_weighting import entropy_weighted
from iapo.advantages.parameters import check_weights
from iapo.interfaces import AdvantageAssigner
from iapo.masked import masked_mean
from iapo.types import AdvantageOutput, TokenSignals


@dataclass(frozen=True)
class GRPOS(AdvantageAssigner):
    """GRPO-S: `GTPO` for whole completions, by their mean policy entropy ``Hbar``; all tokens of one get the same.

    With ``n`` the number of the group's correct completions, and of its wrong ones, and sums over the same::

        correct   outcome_weight * r + entropy_weight * n * Hbar / sum Hbar
        wrong    -outcome_weight     - entropy_weight * n * (1 / Hbar) / sum (1 / Hbar)

    A group's correct completions are then z-scored together, and its wrong ones.

    *Degenerate cases.* Each set's advantages have mean 0, so that one correct completion alone, or completions of equal
    entropy, have advantage 0. A group without correct, or without wrong, completions lacks that set. A mean entropy
    below 1e-6 nats counts as that. A completion without tokens has no part in anything.

    Args:
        outcome_weight: weight of the reward.
        entropy_weight: weight of the entropy's share.
        correct_above: a completion is correct if its reward is above this.

    Raises:
        ValueError: a weight that is negative or not finite.

    Example:
        >>> sorted(GRPOS().requires)
        ['policy_entropy']

    References:
        Tan et al., "GTPO and GRPO-S", arXiv 2508.04349, GRPO-S.
    """

    outcome_weight: float = 1.0
    entropy_weight: float = 0.1
    correct_above: float = 0.5

    def __post_init__(self) -> None:
        check_weights(outcome_weight=self.outcome_weight, entropy_weight=self.entropy_weight)

    @property
    def requires(self) -> frozenset[str]:
        """The policy's entropy."""
        return frozenset({"policy_entropy"})

    def assign(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        completion_mask: Bool[Tensor, "batch token"],
        signals: TokenSignals,
    ) -> AdvantageOutput:
        """See the class."""
        assert signals.policy_entropy is not None
        advantage = entropy_weighted(
            rewards,
            group_ids,
            entropy=masked_mean(signals.policy_entropy.double(), completion_mask, dim=1)[:, None],
            mask=completion_mask.any(1, keepdim=True),
            correct=rewards > self.correct_above,
            outcome_weight=self.outcome_weight,
            entropy_weight=self.entropy_weight,
        )
        return AdvantageOutput(advantage.to(rewards.dtype) * completion_mask, completion_mask, {})
