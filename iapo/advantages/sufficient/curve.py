"""The curve of prefix values: what is known about the answer as the reasoning goes on."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.ops.masked import beside
from iapo.ops.sufficient_prefix import SufficientPrefix, behind_prefix
from iapo.types import AdvantageInputs

_ROUNDING = 1e-3
"""Nats by which an estimate of something that is at most 0 may exceed 0."""


@dataclass(frozen=True, eq=False)
class Curve:
    """What is known after each measured prefix of a batch of completions.

    Args:
        values: nats, float64; 0 where nothing was measured.
        mask: the tokens over which the curve runs.
        measured: the prefixes beside them.
    """

    values: Float[Tensor, "batch probe"]
    mask: Bool[Tensor, "batch token"]
    measured: Bool[Tensor, "batch probe"]

    def probabilities(self) -> Float[Tensor, "batch probe"]:
        """``exp(V_t)`` at the measured prefixes, 0 at the others.

        Of a log-likelihood this is the probability of the answer; of a negative entropy it is one over the effective
        number of answers.

        Raises:
            ValueError: a value above 0, which neither of the two has; the rows are named.
        """
        if bool((self.values > _ROUNDING).any()):
            rows = (self.values > _ROUNDING).any(1).nonzero().flatten().tolist()
            raise ValueError(
                f"signals.prefix_values: got {float(self.values.max()):.4g} nats in rows {rows}, want log-likelihoods "
                "or negative entropies, which are at most 0"
            )
        return self.values.clamp(max=0).exp().masked_fill(~self.measured, 0)


def curve_of(inputs: AdvantageInputs) -> Curve:
    """The curve of prefix values of each completion.

    Where every value of a completion is exactly 0, its estimator had nothing to ask about (a completion without an
    answer, `iapo.estimators.NoInformation`): it counts as not measured, and not as certain from the start.

    Args:
        inputs: with ``signals.prefix_values``; the curve runs over the tokens of ``signals.information_mask``, or of
            the completion mask if that is ``None``.
    """
    signals = inputs.signals
    assert signals.prefix_values is not None
    mask = inputs.read_at("information")
    values = signals.prefix_values.double().masked_fill(~beside(mask), 0)
    mask = mask & (values != 0).any(1, keepdim=True)
    return Curve(values, mask, beside(mask))


def describe_prefix(prefix: SufficientPrefix, curve: Curve) -> dict[str, float]:
    """Metrics over the completions that were measured; none if there are none.

    Returns:
        ``iapo/sufficient/found``: the share in which the answer is there and stays; ``.../lost``: the share in which
        it was there and was lost again, which says how far the curves are from monotone; ``.../length``: mean share of
        the measured tokens that lie before the end of the sufficient prefix, where there is one.
    """
    known = curve.measured.any(1)
    if not bool(known.any()):
        return {}
    metrics = {
        "iapo/sufficient/found": float(prefix.stays[known].double().mean()),
        "iapo/sufficient/lost": float(prefix.lost[known].double().mean()),
    }
    if bool(prefix.stays.any()):
        behind = behind_prefix(prefix.length, prefix.stays, curve.mask)[prefix.stays].sum(1)
        metrics["iapo/sufficient/length"] = float((1 - behind.double() / curve.mask[prefix.stays].sum(1)).mean())
    return metrics


def behind_measured(
    mask: Bool[Tensor, "batch token"], counts: Int[Tensor, "batch place"]
) -> Int[Tensor, "batch place"]:
    """Tokens up to the end of the ``counts``-th masked token of each row; of the last one where a row has fewer.

    Args:
        mask: the tokens that are counted.
        counts: at least 1.
    """
    behind = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    last = (behind * mask).amax(1, keepdim=True) if mask.shape[1] else torch.zeros_like(counts)
    ends = (mask.long().cumsum(1)[:, :, None] < counts[:, None, :]).sum(1) + 1
    return torch.minimum(ends, last)
