"""Token rewards weighted by policy entropy (GTPO)."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from iapo.advantages.entropy_weighting import EntropyWeighted


@dataclass(frozen=True)
class GTPO(EntropyWeighted):
    """GTPO: a correct completion gains most at tokens of high policy entropy, a wrong one loses most at those of low.

    With ``d_t`` and ``n_t`` the number of the group's correct and wrong completions that still run at position ``t``,
    ``H_t`` the policy's next-token entropy, and sums over those completions at ``t``::

        correct   outcome_weight * r + entropy_weight * d_t * H_t / sum H_t
        wrong    -outcome_weight     - entropy_weight * n_t * (1 / H_t) / sum (1 / H_t)

    The tokens of a group's correct completions are then z-scored together, and those of its wrong ones.

    This is the paper's. The released code of IAPO, whose authors compare with GTPO, computes something else under this
    name: `OfficialGTPO`.

    *Degenerate cases.* Each set's advantages have mean 0, so that a set whose shaped rewards are all equal has
    advantage 0; the set of a single completion is one. Where the correct completions of a group have equal rewards, as
    with rewards of 0 and 1, the z-score does not depend on the reward or on the two weights, but on the entropy only. A
    group without correct, or without wrong, completions has no such set. Entropies below 1e-6 nats count as 1e-6. A
    completion without tokens counts nowhere.

    Args:
        outcome_weight: weight of the reward.
        entropy_weight: weight of the entropy's share.

    Raises:
        ValueError: a number that is not finite, or a negative weight.

    Example:
        >>> sorted(GTPO().requires)
        ['policy_entropy']

    References:
        Tan et al., "GTPO and GRPO-S", arXiv 2508.04349, GTPO.
    """

    def columns(
        self, entropy: Float[Tensor, "batch token"], completion_mask: Bool[Tensor, "batch token"]
    ) -> tuple[Float[Tensor, "batch token"], Bool[Tensor, "batch token"]]:
        """A column a token."""
        return entropy, completion_mask
