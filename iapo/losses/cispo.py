"""Clipped importance weights, unclipped gradients (CISPO)."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from iapo.interfaces import PolicyLoss
from iapo.losses.aggregate import count, loss_output, with_advantages
from iapo.losses.ratios import check_clip, clip_shares, log_ratio
from iapo.types import LossInputs, LossOutput


@dataclass(frozen=True)
class CISPO(PolicyLoss):
    """CISPO: REINFORCE with clipped importance weights that carry no gradient, averaged over the tokens of the step.

    ``loss = mean_t -stop_gradient(clip(rho_t, 1 - clip_low, 1 + clip_high)) A_t log pi_t``, ``rho_t = pi / pi_old``.

    A token whose ratio is outside the range keeps a gradient with a bounded weight; in the clipped surrogate of
    `ClippedPolicyLoss` it may have none.

    *Degenerate cases.* At ``rho = 1`` the gradient is that of ``-A log pi``. Where every ratio is clipped from above,
    the gradient is ``1 + clip_high`` times that, not 0. An empty loss mask gives loss and gradient exactly 0. By design
    the gradient is not the derivative of the loss's value, so that the value is of little use for monitoring.

    Args:
        clip_low: weights are clipped below ``1 - clip_low``; with 1 they are never, as in the paper's experiments.
        clip_high: and above ``1 + clip_high``. The paper does not give its value; the default is ScaleRL's.

    Raises:
        ValueError: a number outside its range.

    Example:
        >>> import torch
        >>> policy = torch.tensor([[-1.0, -2.0]], requires_grad=True)
        >>> old, mask = torch.tensor([[-1.0, -9.0]]), torch.ones(1, 2, dtype=torch.bool)
        >>> loss = CISPO(clip_high=4.0)
        >>> loss(policy, old, torch.ones(1, 2), mask, loss.denominator(mask)).loss.backward()
        >>> policy.grad  # weights 1 and 5 over 2 tokens
        tensor([[-0.5000, -2.5000]])

    References:
        MiniMax-M1, arXiv 2506.13585, equations 4 and 5; ScaleRL, arXiv 2510.13786, for the range.
    """

    clip_low: float = 1.0
    clip_high: float = 4.0

    def __post_init__(self) -> None:
        check_clip(self.clip_low, self.clip_high)

    def learns_from(
        self, advantages: Float[Tensor, "batch token"], loss_mask: Bool[Tensor, "batch token"]
    ) -> Bool[Tensor, " batch"]:
        """Those with advantages."""
        return with_advantages(advantages, loss_mask)

    def denominator(self, loss_mask: Bool[Tensor, "batch token"]) -> Float[Tensor, ""]:
        """Tokens in the loss, at least 1."""
        return count(loss_mask, "token")

    def compute(self, inputs: LossInputs) -> LossOutput:
        """The weighted log-probabilities of the step's tokens."""
        ratio = log_ratio(inputs.policy_logprobs.detach(), inputs.old_logprobs).exp()
        weight = ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        shares = clip_shares(ratio < 1 - self.clip_low, ratio > 1 + self.clip_high)
        return loss_output(inputs, -weight * inputs.advantages * inputs.policy_logprobs, shares, "token")
