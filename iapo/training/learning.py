"""From which completions a loss learns, and that it does: a gradient that is lost in silence teaches nothing."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.interfaces import PolicyLoss


def learned_from(
    loss: PolicyLoss, advantages: Float[Tensor, "batch token"], loss_mask: Bool[Tensor, "batch token"]
) -> Bool[Tensor, " batch"]:
    """`iapo.PolicyLoss.learns_from`.

    Raises:
        ValueError: it returned no flag for each completion.
    """
    learns, wanted = loss.learns_from(advantages, loss_mask), tuple(loss_mask.shape[:1])
    if not isinstance(learns, Tensor) or learns.dtype != torch.bool or tuple(learns.shape) != wanted:
        got = f"{learns.dtype} of shape {tuple(learns.shape)}" if isinstance(learns, Tensor) else type(learns).__name__
        raise ValueError(f"{type(loss).__name__}.learns_from: want bool of shape (batch,) = {wanted}, got {got}")
    return learns


def denominator_of(loss: PolicyLoss, loss_mask: Bool[Tensor, "batch token"]) -> Float[Tensor, ""]:
    """`iapo.PolicyLoss.denominator`.

    Raises:
        ValueError: it returned no positive, finite scalar.
    """
    value = loss.denominator(loss_mask)
    if isinstance(value, Tensor) and value.is_floating_point() and value.ndim == 0 and 0 < float(value) < float("inf"):
        return value
    got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) and value.ndim else repr(value)
    raise ValueError(
        f"{type(loss).__name__}.denominator: got {got}, want a tensor of floating point without axes, positive and "
        "finite, as loss_mask.sum().clamp(min=1).float()"
    )


def check_learned(loss: PolicyLoss, value: Float[Tensor, ""], policy_logprobs: Float[Tensor, "rows token"]) -> None:
    """Raise ``ValueError`` unless a loss leads back to the model: an update would change nothing, whatever the rewards.

    Args:
        loss: that learns from these completions.
        value: of them.
        policy_logprobs: that the value was computed from.
    """
    if not policy_logprobs.requires_grad:
        raise ValueError(
            "model: its log-probabilities have no gradient; want weights with requires_grad, and a call outside of "
            "torch.inference_mode"
        )
    if not value.requires_grad:
        raise ValueError(
            f"{type(loss).__name__}.compute: the loss has no gradient; want one computed from "
            "inputs.policy_logprobs, without detach, item, NumPy and torch.no_grad"
        )


def check_nothing_learned(
    loss: PolicyLoss, value: Float[Tensor, ""], policy_logprobs: Float[Tensor, "rows token"]
) -> None:
    """Raise ``ValueError`` if a loss has a gradient in completions that it says it does not learn from.

    Args:
        loss: that says so.
        value: of these completions.
        policy_logprobs: that the value was computed from.
    """
    if not value.requires_grad:
        return
    gradient = torch.autograd.grad(value, policy_logprobs, allow_unused=True)[0]
    if gradient is not None and bool((gradient != 0).any()):
        raise ValueError(
            f"{type(loss).__name__}.learns_from: says that nothing is learned from completions in which the loss has a "
            f"gradient of up to {gradient.abs().max():.3g}; want True for these. A subclass that adds a term needs "
            "a learns_from of its own, such as that of PolicyLoss, which says so of all"
        )
