"""Completion rewards weighted by mean policy entropy (GRPO-S)."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from iapo.advantages.entropy_weighting import EntropyWeighted
from iapo.ops.masked import masked_mean


@dataclass(frozen=True)
class GRPOS(EntropyWeighted):
    """GRPO-S: as `GTPO`, by the mean policy entropy ``Hbar`` of each completion; all its tokens get the same advantage.

    With ``n`` the number of the group's correct completions, and of its wrong ones, and sums over the same::

        correct   outcome_weight * r + entropy_weight * n * Hbar / sum Hbar
        wrong    -outcome_weight     - entropy_weight * n * (1 / Hbar) / sum (1 / Hbar)

    A group's correct completions are then z-scored together, and its wrong ones.

    *Degenerate cases.* Each set's advantages have mean 0, so that the only correct completion of a group, or
    completions of equal entropy, have advantage 0. Equal rewards of the correct ones cancel, as in `GTPO`. A group
    without correct, or without wrong, completions has no such set. A mean entropy below 1e-6 nats counts as 1e-6. A
    completion without tokens counts nowhere.

    Args:
        outcome_weight: weight of the reward.
        entropy_weight: weight of the entropy's share.

    Raises:
        ValueError: a number that is not finite, or a negative weight.

    Example:
        >>> sorted(GRPOS().requires)
        ['policy_entropy']

    References:
        Tan et al., "GTPO and GRPO-S", arXiv 2508.04349, GRPO-S.
    """

    def columns(
        self, entropy: Float[Tensor, "batch token"], completion_mask: Bool[Tensor, "batch token"]
    ) -> tuple[Float[Tensor, "batch 1"], Bool[Tensor, "batch 1"]]:
        """One column: the mean over the completion."""
        mean = masked_mean(entropy.double(), completion_mask, dim=1)
        return mean[:, None], completion_mask.any(1, keepdim=True)
