"""Log-ratios of two policies, and the share of tokens that are clipped: what losses have in common."""

from jaxtyping import Bool, Float
from torch import Tensor

from iapo.ops.checks import check_number
from iapo.ops.precision import widened
from iapo.ops.shapes import shape_checked

_LARGEST_LOG_RATIO = 20.0
"""Beyond this a log-ratio is clamped: e^20 is far outside every clip range, and its square still fits fp32."""


@shape_checked
def log_ratio(
    policy_logprobs: Float[Tensor, "batch token"], other_logprobs: Float[Tensor, "batch token"]
) -> Float[Tensor, "batch token"]:
    """``log(pi / pi_other)`` of each token in nats, fp32 or better, clamped to +-20 so that ``exp`` cannot overflow."""
    difference = widened(policy_logprobs) - other_logprobs
    return difference.clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO)


@shape_checked
def truncated_ratio(
    old_logprobs: Float[Tensor, "batch token"], sampler_logprobs: Float[Tensor, "batch token"], cap: float | int
) -> Float[Tensor, "batch token"]:
    """``min(pi_old / pi_sampler, cap)`` of each token: truncated importance sampling (TIS).

    The weight that corrects for a sampler whose engine computes other probabilities than the trainer does for the same
    weights; the cap bounds its variance, at the price of a bias.

    Args:
        old_logprobs: nats, by the trainer's forward.
        sampler_logprobs: nats, of the same tokens under the same weights, by the sampler.
        cap: the largest weight, above 0.

    Raises:
        ValueError: ``cap`` is not positive.

    References:
        Yao et al., "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training", 2025 (cap 2); Ionides,
        "Truncated Importance Sampling", 2008.
    """
    check_number("cap", cap, "a number above 0", lambda x: x > 0)
    return log_ratio(old_logprobs, sampler_logprobs).exp().clamp(max=cap)


def clip_shares(
    low: Bool[Tensor, "batch token"], high: Bool[Tensor, "batch token"]
) -> dict[str, Float[Tensor, "batch token"]]:
    """Metrics of each token by TRL's names, to be averaged: clipped from below, from above, from either side.

    Args:
        low: clipped from below.
        high: clipped from above.
    """
    return {
        "clip_ratio/low_mean": low.float(),
        "clip_ratio/high_mean": high.float(),
        "clip_ratio/region_mean": (low | high).float(),
    }


def surrogate_clip_shares(
    ratio: Float[Tensor, "batch column"],
    advantages: Float[Tensor, "batch token"],
    clip_low: float,
    clip_high: float,
) -> dict[str, Float[Tensor, "batch token"]]:
    """`clip_shares` of the clipped surrogate, which clips only where that lowers the objective.

    A token is clipped from below if its advantage is negative, and from above if its advantage is positive.

    Args:
        ratio: detached; a column is a token, or the whole completion.
        advantages: their signs are used.
        clip_low: the ratio is clipped below ``1 - clip_low``.
        clip_high: and above ``1 + clip_high``.
    """
    low = (ratio < 1 - clip_low) & (advantages < 0)
    return clip_shares(low, (ratio > 1 + clip_high) & (advantages > 0))


def check_clip(clip_low: float, clip_high: float) -> None:
    """Raise ``ValueError`` unless ``clip_low`` lies in [0, 1] and ``clip_high`` is at least 0 and finite."""
    check_number("clip_low", clip_low, "a number from 0 to 1", lambda x: 0 <= x <= 1)
    check_number("clip_high", clip_high, "a finite number of at least 0", lambda x: x >= 0)
