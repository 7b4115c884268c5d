"""Advantages whitened over the batch, after any assigner."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.advantages.wrapping import WrappingAssigner
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_choice, check_kinds, check_number
from iapo.types import AdvantageInputs, AdvantageOutput

Over = Literal["tokens", "completions"]


@dataclass(frozen=True)
class BatchWhitened(WrappingAssigner):
    """``(A_t - mean) / (std + eps)`` over the tokens of the loss, or over the completions, of the whole batch.

    With ``over="tokens"`` every token counts the same, so that long completions weigh more. With ``"completions"``
    every completion counts the same: the weight of a token is one over the number of its completion's tokens in the
    loss. ``BatchWhitened(GroupRelative(scale="none"))`` is the advantage of REINFORCE++ with a baseline, which DLER
    uses. All micro-batches of an update are whitened together.

    *Degenerate cases.* Where all advantages are equal, and where the loss mask is empty, they are exactly 0. Tokens
    that the outcome leaves out count nowhere. Where the outcome has ``terms``, each is divided by ``std + eps``, and
    the subtracted mean is one more, ``batch_mean``.

    Args:
        outcome: assigns what is whitened.
        over: whether every token or every completion counts the same.
        eps: added to the standard deviation, which divides by the count.

    Raises:
        ValueError: an unknown ``over``, a negative ``eps``.

    Example:
        >>> from iapo.advantages import GroupRelative
        >>> mask = torch.tensor([[True, True], [True, False], [True, False], [True, False]])
        >>> assigner = BatchWhitened(GroupRelative(scale="none"), over="completions", eps=0.0)
        >>> assigner(torch.tensor([1.0, 0.0, 4.0, 1.0]), torch.tensor([0, 0, 1, 1]), mask).advantages[:, 0]
        tensor([ 0.4472, -0.4472,  1.3416, -1.3416])

    References:
        Liu et al., DLER, arXiv 2510.15110; Hu, REINFORCE++, arXiv 2501.03262 (with a baseline); GDPO, arXiv 2601.05242,
        whose batch statistics are over completions.
    """

    outcome: AdvantageAssigner
    over: Over = "tokens"
    eps: float = 1e-8

    def __post_init__(self) -> None:
        check_kinds(self)
        check_choice("over", self.over, Over)
        check_number("eps", self.eps, "a number of at least 0", lambda x: x >= 0)

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages, whitened."""
        output = self.assign_outcome(inputs)
        mean, std = weighted_moments(output.advantages, output.loss_mask, self.over)
        scale = torch.where(std > 0, 1 / (std + self.eps), 0).to(output.advantages.dtype)
        shift = -(mean * scale).to(output.advantages.dtype) * output.loss_mask
        if output.terms is None:
            return AdvantageOutput(output.advantages * scale + shift, output.loss_mask, output.metrics)
        terms = {name: term * scale for name, term in output.terms.items()} | {"batch_mean": shift}
        return AdvantageOutput(sum(terms.values(), torch.zeros_like(shift)), output.loss_mask, output.metrics, terms)


def weighted_moments(
    values: Float[Tensor, "batch token"], mask: Bool[Tensor, "batch token"], over: Over
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean and standard deviation, in float64, of the masked values; both 0 over none, the second 0 if all are equal.

    Args:
        values: those outside ``mask`` are not used.
        mask: the tokens that count.
        over: whether each token or each completion that has one weighs the same.
    """
    flat = values[mask].double()
    if over == "tokens":
        weights = torch.ones_like(flat)
    else:
        weights = (1 / mask.sum(1).clamp(min=1).double())[:, None].expand_as(mask)[mask]
    total = weights.sum().clamp(min=torch.finfo(torch.float64).tiny)
    mean = (weights * flat).sum() / total
    std = ((weights * (flat - mean).square()).sum() / total).sqrt()
    return mean, std if bool((flat != flat[:1]).any()) else torch.zeros_like(std)
