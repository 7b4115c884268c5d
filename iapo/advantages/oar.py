"""The outcome's advantage moved to the tokens on which the answer rests, its sum kept (OAR)."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.advantages.group_relative import GroupRelative
from iapo.advantages.parameters import check_weights
from iapo.advantages.wrapping import WrappingAssigner
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_kinds, check_number
from iapo.ops.masked import masked_extremes, masked_mean
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class OARReshaped(WrappingAssigner):
    """OAR: ``A_t = w_t * outcome``, with weights of mean 1 over the tokens whose importance was measured.

    `mass_preserving_weights` gives the equation. The importance is the estimator's information, of `OARPerturbation`
    or `OARGradient` in the paper; a negative one counts as 0. Tokens that were not measured keep the outcome's
    advantage.

    *Departures.* The paper's values of ``quantile`` and ``boost`` are not in the released code; the defaults are ours.

    *Degenerate cases.* Where all importances of a completion are equal, or none was measured, the advantage is the
    outcome's. Weights keep the sum over a completion's measured tokens where the outcome's advantage is the same at
    all of them, and not where it differs.

    Args:
        outcome: assigns the advantages, `GroupRelative` in the paper.
        quantile: of a completion's tokens, the share that counts as noise and is weighted down.
        boost: how much the most important token is weighted up, before weights are scaled to mean 1.
        floor: the least weight of the others, before that; 0.1 in the released code.

    Raises:
        ValueError: ``quantile`` outside [0, 1], ``boost`` or ``floor`` negative or not finite.

    Example:
        >>> from iapo import TokenSignals
        >>> mask, importance = torch.ones(2, 3, dtype=torch.bool), torch.tensor([[0.0, 0.1, 2.0], [0.3, 0.3, 0.3]])
        >>> assigner, signals = OARReshaped(GroupRelative(scale="none")), TokenSignals(information=importance)
        >>> assigner(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask, signals).advantages
        tensor([[ 0.0484,  0.4839,  0.9677],
                [-0.5000, -0.5000, -0.5000]])

    References:
        Outcome-grounded advantage reshaping, arXiv 2601.07408.
    """

    outcome: AdvantageAssigner = field(default_factory=GroupRelative)
    quantile: float = 0.5
    boost: float = 1.0
    floor: float = 0.1

    def __post_init__(self) -> None:
        check_kinds(self)
        check_number("quantile", self.quantile, "a number from 0 to 1", lambda x: 0 <= x <= 1)
        check_weights(boost=self.boost, floor=self.floor)

    @property
    def requires(self) -> frozenset[str]:
        """The information, and what the outcome requires."""
        return self.outcome.requires | {"information"}

    def wants_information(self, inputs: AdvantageInputs) -> Bool[Tensor, " batch"]:
        """All completions: right or wrong, each is reshaped."""
        return torch.ones_like(inputs.rewards, dtype=torch.bool)

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages times the weights."""
        assert inputs.signals.information is not None
        output = self.assign_outcome(inputs)
        mask = output.loss_mask & inputs.read_at("information")
        weights = mass_preserving_weights(inputs.signals.information, mask, self.quantile, self.boost, self.floor)
        weights = weights.to(output.advantages.dtype)
        return output.changed(lambda each: each * weights)


def mass_preserving_weights(
    importance: Float[Tensor, "batch token"],
    mask: Bool[Tensor, "batch token"],
    quantile: float,
    boost: float,
    floor: float,
) -> Float[Tensor, "batch token"]:
    """Weights of the masked tokens, of mean 1 in each row, that grow with the importance; 1 elsewhere.

    With ``n_t`` the importance ``log(1 + max(I_t, 0))`` moved and scaled to [0, 1] within the row, and ``tau`` the
    ``quantile`` of these::

        n_t <  tau   max(n_t / tau, floor)
        n_t >= tau   1 + boost * (n_t - tau) / (1 - tau)

    and then divided by their mean. A row whose importances are all equal has weights 1.

    Args:
        importance: ``I_t``; values outside the mask are not used.
        mask: the tokens that are weighted.
        quantile: from 0 to 1.
        boost: at least 0.
        floor: at least 0.

    Returns:
        In float64.
    """
    if importance.numel() == 0:
        return torch.ones_like(importance, dtype=torch.float64)
    values = importance.double().clamp(min=0).log1p()
    least, most = (each[:, None] for each in masked_extremes(values, mask, 1))
    values = (values - least) / (most - least)
    tau = values.masked_fill(~mask, torch.nan).nanquantile(quantile, 1, keepdim=True)
    low = (values / tau).clamp(min=floor)
    high = 1 + boost * (values - tau) / torch.where(tau < 1, 1 - tau, 1)
    weights = torch.where(values < tau, low, high)
    weights = weights / masked_mean(weights, mask, 1)[:, None]
    return torch.where(mask & (most > least), weights, 1)
