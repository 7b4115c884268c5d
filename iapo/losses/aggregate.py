"""The averages over tokens that losses share, and what they divide by."""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.ops.masked import masked_mean, masked_sum
from iapo.ops.shapes import shape_checked
from iapo.types import LossInputs, LossOutput

Aggregation = Literal["token", "sequence", "constant"]


@shape_checked
def count(loss_mask: Bool[Tensor, "batch token"], aggregation: Aggregation, max_length: int = 1) -> Float[Tensor, ""]:
    """What a step's sum is divided by, at least 1.

    Args:
        loss_mask: of the whole step.
        aggregation: ``"token"``: the tokens of the mask; ``"sequence"``: the completions that have one;
            ``"constant"``: all completions times ``max_length``.
        max_length: tokens, used by ``"constant"`` only.
    """
    if aggregation == "token":
        return loss_mask.sum().clamp(min=1).float()
    if aggregation == "sequence":
        return loss_mask.any(1).sum().clamp(min=1).float()
    return torch.full((), float(max(1, len(loss_mask) * max_length)), device=loss_mask.device)


@shape_checked
def with_advantages(
    advantages: Float[Tensor, "batch token"], loss_mask: Bool[Tensor, "batch token"]
) -> Bool[Tensor, " batch"]:
    """The completions with a token in the loss whose advantage is not 0; a surrogate learns from no others."""
    return ((advantages != 0) & loss_mask).any(1)


def aggregate(
    values: Float[Tensor, "batch token"],
    loss_mask: Bool[Tensor, "batch token"],
    denominator: Float[Tensor, ""],
    aggregation: Aggregation,
) -> Float[Tensor, ""]:
    """The sum over all tokens, or for ``"sequence"`` the sum of each completion's mean, divided by ``denominator``.

    Args:
        values: of each token; those outside the mask are not used.
        loss_mask: of the micro-batch.
        denominator: `count` of the whole step.
        aggregation: ``"token"``, ``"sequence"`` or ``"constant"``.
    """
    if aggregation == "sequence":
        return masked_mean(values, loss_mask, dim=1).sum() / denominator
    return masked_sum(values, loss_mask) / denominator


def loss_output(
    inputs: LossInputs,
    per_token: Float[Tensor, "batch token"],
    metrics: Mapping[str, Float[Tensor, "batch token"]],
    aggregation: Aggregation,
) -> LossOutput:
    """The loss and its metrics from their values at each token.

    Args:
        inputs: of the loss: its mask and denominator are used.
        per_token: the loss of each token.
        metrics: detached, by name. They are averaged as the loss is, so that micro-batches add up.
        aggregation: `aggregate` describes it.
    """

    def average(values: Float[Tensor, "batch token"]) -> Float[Tensor, ""]:
        return aggregate(values, inputs.loss_mask, inputs.denominator, aggregation)

    return LossOutput(average(per_token), {name: average(value) for name, value in metrics.items()})
