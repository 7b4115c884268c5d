"""The clipped policy-gradient surrogate with a KL penalty."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.interfaces import PolicyLoss
from iapo.losses.aggregate import Aggregation, count, loss_output, with_advantages
from iapo.losses.kl import KLEstimator, kl_estimate
from iapo.losses.ratios import check_clip, log_ratio, surrogate_clip_shares, truncated_ratio
from iapo.ops.checks import check_choice, check_integer, check_number
from iapo.ops.shapes import shape_checked
from iapo.types import LossInputs, LossOutput


@shape_checked
def clipped_surrogate(
    log_ratio: Float[Tensor, "batch token"],
    advantages: Float[Tensor, "batch token"],
    clip_low: float | int,
    clip_high: float | int,
    dual_clip: float | int | None = None,
) -> Float[Tensor, "batch token"]:
    """``-min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A)`` of each token, ``rho = exp(log_ratio)``.

    With ``dual_clip`` it is at most ``-dual_clip A`` where the advantage is negative. At ``rho = 1`` its gradient is
    that of ``-A log pi`` (REINFORCE).

    References:
        PPO, arXiv 1707.06347, equation 7; DAPO, arXiv 2503.14476 (separate bounds above and below); dual clip, arXiv
        1912.09729.
    """
    ratio = log_ratio.exp()
    loss = -torch.minimum(ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)
    if dual_clip is None:
        return loss
    return torch.where(advantages < 0, torch.minimum(loss, -dual_clip * advantages), loss)


@dataclass(frozen=True)
class ClippedPolicyLoss(PolicyLoss):
    """Clipped surrogate plus ``kl_coef`` times an estimate of the KL to a reference policy, aggregated over tokens.

    =============== ============================================================== ===============================
    ``aggregation`` loss                                                           denominator
    =============== ============================================================== ===============================
    ``token``       mean over all tokens of the step (DAPO)                        tokens
    ``sequence``    mean over completions of the mean over their tokens (GRPO)     completions
    ``constant``    sum over tokens by completions times ``max_length`` (Dr. GRPO) completions * ``max_length``
    =============== ============================================================== ===============================

    Tokens are those of the loss mask. A completion without one counts in the ``constant`` denominator, which so depends
    on no mask, as in TRL's ``dr_grpo``; in the mean over completions of ``sequence`` it does not.

    Where the advantage is negative, the clipped surrogate is not bounded: it grows with the ratio. ``dual_clip`` bounds
    it, as in verl (``clip_ratio_c``, there 3 by default) and TRL (``delta``).

    A sampler with an engine of its own (vLLM) samples from slightly other probabilities than the trainer computes for
    the same weights. With ``sampler_ratio_cap`` the surrogate of each token is multiplied by
    ``min(pi_old / pi_sampler, sampler_ratio_cap)``, without gradient (truncated importance sampling, TIS:
    `iapo.losses.truncated_ratio`). TRL calls that ``vllm_importance_sampling_mode="token_truncate"``, and the cap
    ``vllm_importance_sampling_clip_max``; verl ``rollout_is="token"`` and ``rollout_is_threshold``. The KL penalty is
    not multiplied.

    *Degenerate cases.* An empty loss mask gives loss and gradients exactly 0. A token whose loss is bounded by
    ``dual_clip`` has gradient 0.

    Args:
        clip_low: the ratio is clipped below ``1 - clip_low``.
        clip_high: and above ``1 + clip_high``.
        aggregation: how tokens are averaged, see the table.
        kl_coef: weight of the KL penalty; 0 needs no reference policy.
        max_length: tokens, for ``aggregation="constant"`` and only for it.
        dual_clip: where the advantage is negative, the ratio counts as at most this, above 1; ``None``: no bound.
        kl_estimator: of the KL penalty, a row of the table of `kl_estimate`.
        sampler_ratio_cap: the largest weight of a token against the mismatch with the sampler; 2 is usual; ``None``: no
            weights.

    Raises:
        ValueError: a number outside its range, an unknown ``aggregation`` or ``kl_estimator``, ``max_length`` missing
            or superfluous; on a call, ``ref_logprobs`` missing although ``kl_coef`` is positive, or
            ``sampler_logprobs`` although there is a ``sampler_ratio_cap``.

    References:
        arXiv 2402.03300 (GRPO), 2503.14476 (DAPO), 2503.20783 (Dr. GRPO); `truncated_ratio` for its weights.
    """

    clip_low: float = 0.2
    clip_high: float = 0.28
    aggregation: Aggregation = "token"
    kl_coef: float = 0.0
    max_length: int | None = None
    dual_clip: float | None = None
    kl_estimator: KLEstimator = "k3"
    sampler_ratio_cap: float | None = None

    def __post_init__(self) -> None:
        check_clip(self.clip_low, self.clip_high)
        check_number("kl_coef", self.kl_coef, "a finite number of at least 0", lambda x: x >= 0)
        check_choice("aggregation", self.aggregation, Aggregation)
        if (self.aggregation == "constant") != (self.max_length is not None):
            raise ValueError(
                f"max_length: got {self.max_length} with aggregation={self.aggregation!r}, give it for 'constant'"
            )
        check_integer("max_length", self.max_length, or_none=True)
        check_number("dual_clip", self.dual_clip, "a finite number above 1", lambda x: x > 1, or_none=True)
        check_choice("kl_estimator", self.kl_estimator, KLEstimator)
        check_number(
            "sampler_ratio_cap",
            self.sampler_ratio_cap,
            "a finite number above 0 (2 is usual)",
            lambda x: x > 0,
            or_none=True,
        )

    @property
    def requires_reference(self) -> bool:
        """Whether the KL penalty has a weight."""
        return self.kl_coef > 0

    @property
    def requires_sampler(self) -> bool:
        """Whether tokens are weighted against the mismatch with the sampler."""
        return self.sampler_ratio_cap is not None

    def learns_from(
        self, advantages: Float[Tensor, "batch token"], loss_mask: Bool[Tensor, "batch token"]
    ) -> Bool[Tensor, " batch"]:
        """All with a KL penalty, else those with advantages."""
        if self.kl_coef > 0:
            return super().learns_from(advantages, loss_mask)
        return with_advantages(advantages, loss_mask)

    def denominator(self, loss_mask: Bool[Tensor, "batch token"]) -> Float[Tensor, ""]:
        """What the table of the class says, of the whole step's mask; at least 1."""
        return count(loss_mask, self.aggregation, self.max_length or 1)

    def compute(self, inputs: LossInputs) -> LossOutput:
        """The clipped surrogate of each token, plus the KL penalty if it has a weight."""
        if self.kl_coef > 0 and inputs.ref_logprobs is None:
            raise ValueError(f"ref_logprobs: got None, wanted because kl_coef is {self.kl_coef}")
        change = log_ratio(inputs.policy_logprobs, inputs.old_logprobs)
        per_token = clipped_surrogate(change, inputs.advantages, self.clip_low, self.clip_high, self.dual_clip)
        ratio = change.detach().exp()
        metrics = surrogate_clip_shares(ratio, inputs.advantages, self.clip_low, self.clip_high)
        if self.dual_clip is not None:
            metrics["clip_ratio/dual_mean"] = ((ratio > self.dual_clip) & (inputs.advantages < 0)).float()
        if self.sampler_ratio_cap is not None:
            if inputs.sampler_logprobs is None:
                raise ValueError(
                    f"sampler_logprobs: got None, wanted because sampler_ratio_cap is {self.sampler_ratio_cap}; use a "
                    "sampler that gives log-probabilities (VLLMSampler gives none with top_p below 1 and a temperature "
                    "other than 1), or sampler_ratio_cap=None"
                )
            weight = truncated_ratio(inputs.old_logprobs, inputs.sampler_logprobs, self.sampler_ratio_cap)
            per_token = weight * per_token
            metrics["sampling/importance_sampling_ratio/mean"] = weight
            metrics["sampling/importance_sampling_ratio/capped"] = (weight >= self.sampler_ratio_cap).float()
        if inputs.ref_logprobs is not None:
            kl = kl_estimate(log_ratio(inputs.policy_logprobs, inputs.ref_logprobs), self.kl_estimator)
            per_token = per_token + self.kl_coef * kl if self.kl_coef else per_token
            metrics["kl"] = kl.detach()
        return loss_output(inputs, per_token, metrics, self.aggregation)
