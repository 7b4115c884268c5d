"""Token rewards weighted by policy entropy (GTPO)."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.entropy_weighting import entropy_weighted
from iapo.advantages.parameters import check_weights
from iapo.interfaces import AdvantageAssigner
from iapo.types import AdvantageOutput, TokenSignals


@dataclass(frozen=True)
class GTPO(AdvantageAssigner):
    """GTPO: token rewards that grow with policy entropy where the answer is right, and cost more where it is low.

    With ``d_t`` and ``n_t`` the number of the group's correct and wrong completions that still run at position ``t``,
    ``H_t`` the policy's next-token entropy, and sums over those completions at ``t``::

        correct   outcome_weight * r + entropy_weight * d_t * H_t / sum H_t
        wrong    -outcome_weight     - entropy_weight * n_t * (1 / H_t) / sum (1 / H_t)

    The tokens of a group's correct completions are then z-scored together, and those of its wrong ones.

    *Degenerate cases.* Each set's advantages have mean 0, so that a set whose shaped rewards are all equal, such as one
    completion alone, has advantage 0. A group without correct, or without wrong, completions lacks that set. Entropies
    below 1e-6 nats count as that. A completion without tokens has no part in anything.

    Args:
        outcome_weight: weight of the reward.
        entropy_weight: weight of the entropy's share.
        correct_above: a completion is correct if its reward is above this.

    Raises:
        ValueError: a weight that is negative or not finite.

    Example:
        >>> sorted(GTPO().requires)
        ['policy_entropy']

    References:
        Tan et al., "GTPO and GRPO-S", arXiv 2508.04349, GTPO.
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
        advantages = entropy_weighted(
            rewards,
            group_ids,
            entropy=signals.policy_entropy,
            mask=completion_mask,
            correct=rewards > self.correct_above,
            outcome_weight=self.outcome_weight,
            entropy_weight=self.entropy_weight,
        )
        return AdvantageOutput(advantages.to(rewards.dtype), completion_mask, {})
