"""One ratio for a whole completion, clipped as one (GSPO)."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from iapo.interfaces import PolicyLoss
from iapo.losses.aggregate import count, loss_output, with_advantages
from iapo.losses.clipped import clipped_surrogate
from iapo.losses.ratios import check_clip, log_ratio, surrogate_clip_shares
from iapo.ops.masked import masked_mean
from iapo.types import LossInputs, LossOutput


@dataclass(frozen=True)
class GSPO(PolicyLoss):
    """GSPO: the clipped surrogate with one ratio per completion, the geometric mean of its tokens' ratios.

    With ``s_i = exp(mean_t log(pi / pi_old))`` over the tokens of completion ``i`` that are in the loss::

        loss = mean_i mean_t -min(s_it A_it, clip(s_it, 1 - clip_low, 1 + clip_high) A_it)

    where ``s_it`` has the value of ``s_i`` and the gradient of ``s_i log pi_t`` (the paper's GSPO-token), so that the
    tokens of a completion may have different advantages. Where they are all equal, value and gradient are those of
    plain GSPO: ``-min(s_i A_i, clip(s_i) A_i)``. All tokens of a completion whose advantages have one sign are clipped
    together; if there are both signs, those of one sign are.

    *Degenerate cases.* At ``s_i = 1`` the gradient is that of the mean over completions of the mean of ``-A log pi``.
    Tokens that are clipped have gradient exactly 0. An empty loss mask gives loss and gradient exactly 0. Where
    advantages differ within a completion, the gradient is not that of the loss's value, by design.

    Args:
        clip_low: the ratio is clipped below ``1 - clip_low``.
        clip_high: and above ``1 + clip_high``. A mean of log-ratios is small, hence the narrow range.

    Raises:
        ValueError: a number outside its range.

    Example:
        >>> import torch
        >>> policy, mask = torch.tensor([[-1.0, -2.0]]), torch.ones(1, 2, dtype=torch.bool)
        >>> loss = GSPO(clip_high=0.1)
        >>> output = loss(policy, policy - torch.tensor([[0.3, 0.1]]), torch.ones(1, 2), mask, loss.denominator(mask))
        >>> output.loss  # the ratio is exp(0.2), clipped to 1.1
        tensor(-1.1000)

    References:
        Zheng et al., "Group Sequence Policy Optimization", arXiv 2507.18071, equations 5 and 7, section 4.3 for tokens
        with advantages of their own, section 5.1 for the clip range.
    """

    clip_low: float = 3e-4
    clip_high: float = 4e-4

    def __post_init__(self) -> None:
        check_clip(self.clip_low, self.clip_high)

    def learns_from(
        self, advantages: Float[Tensor, "batch token"], loss_mask: Bool[Tensor, "batch token"]
    ) -> Bool[Tensor, " batch"]:
        """Those with advantages."""
        return with_advantages(advantages, loss_mask)

    def denominator(self, loss_mask: Bool[Tensor, "batch token"]) -> Float[Tensor, ""]:
        """Completions with a token in the loss, at least 1."""
        return count(loss_mask, "sequence")

    def compute(self, inputs: LossInputs) -> LossOutput:
        """The clipped surrogate with one ratio per completion."""
        policy, mask = inputs.policy_logprobs, inputs.loss_mask
        policy_mean = masked_mean(policy.detach(), mask, dim=1)[:, None]
        change = log_ratio(policy_mean, masked_mean(inputs.old_logprobs, mask, dim=1)[:, None])
        # The difference is 0: it adds the gradient of the token's log-probability and no value.
        token_change = change + (policy - policy.detach())
        per_token = clipped_surrogate(token_change, inputs.advantages, self.clip_low, self.clip_high)
        shares = surrogate_clip_shares(change.exp(), inputs.advantages, self.clip_low, self.clip_high)
        return loss_output(inputs, per_token, shares, "sequence")
