"""The clipped policy-gradient surrogate with a KL penalty."""

from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.interfaces import PolicyLoss
from iapo.losses.aggregate import Aggregation, count, loss_output
from iapo.losses.ratios import check_clip, log_ratio, surrogate_clip_shares
from iapo.types import LossInputs, LossOutput


def clipped_surrogate(
    log_ratio: Float[Tensor, "batch token"],
    advantages: Float[Tensor, "batch token"],
    clip_low: float,
    clip_high: float,
) -> Float[Tensor, "batch token"]:
    """``-min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A)`` of each token, ``rho = exp(log_ratio)``.

    At ``rho = 1`` its gradient is that of ``-A log pi`` (REINFORCE).

    References:
        PPO, arXiv 1707.06347, equation 7; DAPO, arXiv 2503.14476 (separate bounds above and below).
    """
    ratio = log_ratio.exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)


def kl_k3(log_ratio_to_reference: Float[Tensor, "batch token"]) -> Float[Tensor, "batch token"]:
    """``r - log r - 1`` with ``r = pi_ref / pi``: unbiased for ``KL(pi || pi_ref)`` in nats, and never negative.

    Args:
        log_ratio_to_reference: ``log(pi / pi_ref)`` of tokens sampled from ``pi``, nats.

    References:
        Schulman, "Approximating KL divergence" (2020), estimator k3; arXiv 2402.03300, equation 4.
    """
    return torch.expm1(-log_ratio_to_reference) + log_ratio_to_reference


@dataclass(frozen=True)
class ClippedPolicyLoss(PolicyLoss):
    """Clipped surrogate plus ``kl_coef`` times the k3 KL to a reference policy, aggregated over tokens.

    =============== ============================================================== ===============================
    ``aggregation`` loss                                                           denominator
    =============== ============================================================== ===============================
    ``token``       mean over all tokens of the step (DAPO)                        tokens
    ``sequence``    mean over completions of the mean over their tokens (GRPO)     completions with a token in it
    ``constant``    sum over tokens by completions times ``max_length`` (Dr. GRPO) completions * ``max_length``
    =============== ============================================================== ===============================

    *Degenerate cases.* An empty loss mask gives loss and gradients exactly 0.

    Args:
        clip_low: the ratio is clipped below ``1 - clip_low``.
        clip_high: and above ``1 + clip_high``.
        aggregation: how tokens are averaged, see the table.
        kl_coef: weight of the KL penalty; 0 needs no reference policy.
        max_length: tokens, for ``aggregation="constant"`` and only for it.

    Raises:
        ValueError: a number outside its range, an unknown ``aggregation``, ``max_length`` missing or superfluous; on a
            call, ``ref_logprobs`` missing although ``kl_coef`` is positive.

    References:
        arXiv 2402.03300 (GRPO), 2503.14476 (DAPO), 2503.20783 (Dr. GRPO).
    """

    clip_low: float = 0.2
    clip_high: float = 0.28
    aggregation: Aggregation = "token"
    kl_coef: float = 0.0
    max_length: int | None = None

    def __post_init__(self) -> None:
        check_clip(self.clip_low, self.clip_high)
        if not 0 <= self.kl_coef < float("inf"):
            raise ValueError(f"kl_coef: got {self.kl_coef}, want a finite number of at least 0")
        if self.aggregation not in get_args(Aggregation):
            raise ValueError(f"aggregation: got {self.aggregation!r}, want one of {', '.join(get_args(Aggregation))}")
        if (self.aggregation == "constant") != (self.max_length is not None):
            raise ValueError(
                f"max_length: got {self.max_length} with aggregation={self.aggregation!r}, give it for 'constant'"
            )
        if self.max_length is not None and self.max_length < 1:
            raise ValueError(f"max_length: got {self.max_length}, want at least 1")

    @property
    def requires_reference(self) -> bool:
        """Whether the KL penalty has a weight."""
        return self.kl_coef > 0

    def denominator(self, loss_mask: Bool[Tensor, "batch token"]) -> Float[Tensor, ""]:
        """What the table of the class says, of the whole step's mask; at least 1."""
        return count(loss_mask, self.aggregation, self.max_length or 1)

    def compute(self, inputs: LossInputs) -> LossOutput:
        """The clipped surrogate of each token, plus the KL penalty if it has a weight."""
        if self.kl_coef > 0 and inputs.ref_logprobs is None:
            raise ValueError(f"ref_logprobs: got None, wanted because kl_coef is {self.kl_coef}")
        change = log_ratio(inputs.policy_logprobs, inputs.old_logprobs)
        per_token = clipped_surrogate(change, inputs.advantages, self.clip_low, self.clip_high)
        ratio = change.detach().exp()
        metrics = surrogate_clip_shares(ratio, inputs.advantages, self.clip_low, self.clip_high)
        if inputs.ref_logprobs is not None:
            kl = kl_k3(log_ratio(inputs.policy_logprobs, inputs.ref_logprobs))
            per_token = per_token + self.kl_coef * kl if self.kl_coef else per_token
            metrics["kl"] = kl.detach()
        return loss_output(inputs, per_token, metrics, self.aggregation)
