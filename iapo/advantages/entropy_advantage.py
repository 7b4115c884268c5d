"""A bonus for tokens at which the policy was unsure, bounded by the advantage."""

from dataclasses import dataclass

import torch

from iapo.advantages.parameters import check_weights
from iapo.advantages.wrapping import WrappingAssigner, add_term
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_kinds, check_number
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class EntropyAdvantage(WrappingAssigner):
    """``A_t + min(alpha * H_t, |A_t| / kappa)``, ``H_t`` the entropy (nats) of the policy's next-token distribution.

    The entropy carries no gradient: unlike an entropy bonus in the loss it does not push towards being unsure, it gives
    more credit to tokens sampled where the policy was. As ``kappa`` is above 1, no advantage changes its sign.

    *Degenerate cases.* An advantage of 0 stays 0, ``alpha=0`` is the outcome's advantage. The output's ``terms`` are
    the outcome's and ``entropy``.

    Args:
        outcome: assigns the advantages.
        alpha: weight of the entropy, per nat; 0.4 in the paper for GRPO.
        kappa: the bonus is at most ``|A_t| / kappa``. Above 1; 2 in the paper.

    Raises:
        ValueError: an ``alpha`` that is negative or not finite, a ``kappa`` of at most 1.

    Example:
        >>> from iapo import TokenSignals
        >>> from iapo.advantages import GroupRelative
        >>> mask = torch.ones(2, 2, dtype=torch.bool)
        >>> signals = TokenSignals(policy_entropy=torch.tensor([[0.1, 2.0], [0.1, 2.0]]))
        >>> assigner = EntropyAdvantage(GroupRelative(scale="none"), alpha=0.4)
        >>> assigner(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask, signals).advantages
        tensor([[ 0.5400,  0.7500],
                [-0.4600, -0.2500]])

    References:
        Cheng et al., "Reasoning with Exploration: An Entropy Perspective", arXiv 2506.14758, the shaped advantage.
    """

    outcome: AdvantageAssigner
    alpha: float = 0.4
    kappa: float = 2.0

    def __post_init__(self) -> None:
        check_kinds(self)
        check_weights(alpha=self.alpha)
        check_number("kappa", self.kappa, "a finite number above 1", lambda x: x > 1)

    @property
    def requires(self) -> frozenset[str]:
        """The outcome's signals, and the policy's entropy."""
        return self.outcome.requires | {"policy_entropy"}

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages plus the bonus."""
        output, entropy = self.assign_outcome(inputs), inputs.signals.policy_entropy
        assert entropy is not None
        return add_term(output, "entropy", torch.minimum(self.alpha * entropy, output.advantages.abs() / self.kappa))
