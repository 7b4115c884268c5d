"""GTPO as the released code of IAPO computes it, for comparison: the outcome's advantage and a share of entropy."""

from dataclasses import dataclass, field

import torch

from iapo.advantages.group_relative import GroupRelative
from iapo.advantages.parameters import check_weights
from iapo.advantages.wrapping import WrappingAssigner
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_kinds
from iapo.ops.masked import masked_sum
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class OfficialGTPO(WrappingAssigner):
    """``A_t = outcome + sign * entropy_weight * L * H_t / sum_u H_u``, plus in right completions, minus in wrong ones.

    ``H_t`` is the policy's next-token entropy and the sum is over the ``L`` tokens of the same completion, so that the
    added term is ``entropy_weight`` on average over a completion, with the sign. The paper's GTPO is `GTPO`. It differs
    from this one in three ways: shares are taken among the completions of a group that still run at a position, wrong
    completions are weighted by the reciprocal of the entropy, and the sum is z-scored.

    The added term alone is a reward of ``entropy_weight`` per token of a right completion and the same price per token
    of a wrong one. The output's ``terms`` are ``outcome`` and ``entropy``.

    *Degenerate cases.* A completion whose entropies are all 0, or that has no token, gets no added term.
    ``entropy_weight=0`` is the outcome's advantage, bitwise. Tokens outside the outcome's loss mask get nothing, but
    their entropy counts in the sum.

    Args:
        outcome: assigns the outcome's part; its loss mask is kept.
        entropy_weight: weight of the entropy's share; 0.1 in the released code.

    Raises:
        ValueError: a number that is not finite, or a negative weight.

    Example:
        >>> from iapo import TokenSignals
        >>> mask, entropy = torch.ones(2, 2, dtype=torch.bool), torch.tensor([[3.0, 1.0], [1.0, 1.0]])
        >>> assigner, signals = OfficialGTPO(GroupRelative(scale="none")), TokenSignals(policy_entropy=entropy)
        >>> assigner(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask, signals).advantages
        tensor([[ 0.6500,  0.5500],
                [-0.6000, -0.6000]])

    References:
        IAPO, arXiv 2602.19049, the code released with it; Tan et al., arXiv 2508.04349, for the method it is named
        after.
    """

    outcome: AdvantageAssigner = field(default_factory=GroupRelative)
    entropy_weight: float = 0.1

    def __post_init__(self) -> None:
        check_kinds(self)
        check_weights(entropy_weight=self.entropy_weight)

    @property
    def requires(self) -> frozenset[str]:
        """The policy's entropy, and what the outcome requires."""
        return self.outcome.requires | {"policy_entropy"}

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages plus each token's share."""
        assert inputs.signals.policy_entropy is not None
        output, mask = self.assign_outcome(inputs), inputs.completion_mask
        entropy = inputs.signals.policy_entropy.to(inputs.rewards.dtype).masked_fill(~mask, 0)
        total = masked_sum(entropy, mask, dim=1)[:, None]
        share = entropy / torch.where(total > 0, total, 1)
        signed = torch.where(inputs.correct[:, None], share, -share)
        term = self.entropy_weight * signed * mask.sum(1, keepdim=True) * output.loss_mask
        terms = {"outcome": output.advantages, "entropy": term}
        return AdvantageOutput(output.advantages + term, output.loss_mask, dict(output.metrics), terms)
