"""What an update does to the expected length of completions: predicted from log-probabilities, and realized."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.diagnostics.estimate import Estimate, centered, group_covariances, ratio_of_sums
from iapo.ops.checks import check_finite
from iapo.ops.groups import Groups
from iapo.ops.shapes import shape_checked

_NAME = "iapo/diagnostics/length_change"


@dataclass(frozen=True)
class LengthChange:
    """Predicted change of the expected length, tokens.

    Args:
        first_order: ``Cov(L, log p_after - log p_before)``.
        exact: ``Cov(L, p_after / p_before)``; ``None`` if a ratio overflows.
    """

    first_order: Estimate
    exact: Estimate | None

    def metrics(self) -> dict[str, float]:
        """Metrics ``iapo/diagnostics/length_change/first_order`` and ``.../exact``, with their standard errors."""
        exact = {} if self.exact is None else self.exact.metrics(f"{_NAME}/exact")
        return self.first_order.metrics(f"{_NAME}/first_order") | exact


@shape_checked
def length_change(
    logprobs_before: Float[Tensor, "batch token"],
    logprobs_after: Float[Tensor, "batch token"],
    completion_mask: Bool[Tensor, "batch token"],
    group_ids: Int[Tensor, " batch"],
) -> LengthChange | None:
    """Change of the expected length that an update makes, from completions of the policy before it.

    With ``w(o) = p_after(o) / p_before(o)`` for a whole completion, ``E_before[w] = 1``, and therefore, exactly::

        E_after[L] - E_before[L] = Cov_before(L, w)

    To first order in the update ``w = 1 + log w``, which gives ``Cov_before(L, log p_after - log p_before)``; the
    omitted terms are quadratic in the update. Both hold for lengths that are cut at a maximum, too. Covariances are
    taken within groups (the identity is about one prompt), unbiased (`group_covariances`), and averaged over groups.

    Which to read: the exact form weighs by ratios, so that a single long completion that became much likelier can
    dominate it. The first-order form has less variance, and an error of the order of the squared change.

    *Bias.* For completions that had no part in the update both are unbiased, the first-order form for its own value.
    On the completions that the update was made from, each probability has also moved by the completion's own gradient,
    which does not happen to a fresh completion. The prediction then overstates the effect of the batch's advantages; it
    does so more for smaller batches and larger steps.

    *Degenerate cases.* A group of one has no covariance and is left out. Where all lengths of a group are equal its
    covariance is 0. Without a group of two there is no prediction.

    Args:
        logprobs_before: log-probabilities of the completions' tokens under the policy that sampled them, nats, at its
            temperature.
        logprobs_after: the same under the policy after the update.
        completion_mask: ``True`` at the completions' tokens; values at other positions have no effect.
        group_ids: completions with equal ids answer the same prompt.

    Returns:
        Tokens; ``None`` without a group of at least two.

    Raises:
        FloatingPointError: a log-probability at a token is NaN or infinite; the rows are named.

    Example:
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> before = torch.full((2, 2), 0.5).log()
        >>> change = length_change(before, before + torch.tensor([[0.0, -0.1], [0.1, 0.0]]), mask, torch.tensor([4, 4]))
        >>> round(change.first_order.value, 3), round(change.exact.value, 3)
        (-0.1, -0.1)

    References:
        IAPO, arXiv 2602.19049, theorem 4.1: the first-order form, there of the part ``dtheta_s`` of an update that the
        information term makes, ``S(o) = sum_t grad log pi(o_t) . dtheta_s``. `length_gradient` splits by term.
    """
    change = (logprobs_after.double() - logprobs_before.double()).masked_fill(~completion_mask, 0)
    check_finite("logprobs_before, logprobs_after", change)
    log_ratio, lengths = change.sum(1), completion_mask.sum(1).double()
    first_order = _mean(group_covariances(lengths, log_ratio, group_ids))
    # A constant changes no covariance; without it small changes keep their digits.
    ratio = torch.expm1(log_ratio)
    exact = _mean(group_covariances(lengths, ratio, group_ids)) if bool(ratio.isfinite().all()) else None
    return None if first_order is None else LengthChange(first_order, exact)


@shape_checked
def realized_length_change(
    before: Bool[Tensor, "batch token"],
    group_ids_before: Int[Tensor, " batch"],
    after: Bool[Tensor, "fresh width"],
    group_ids_after: Int[Tensor, " fresh"],
) -> Estimate | None:
    """The realized change: each prompt's mean length after the update minus that before, averaged over prompts.

    The completions of both policies are samples, so that for one update the standard error is often as large as the
    change. Average over several updates to see it.

    Args:
        before: completion mask of completions sampled before the update.
        group_ids_before: their prompts.
        after: completion mask of completions sampled after it, of any width.
        group_ids_after: their prompts; only prompts with completions both before and after count.

    Returns:
        Tokens; ``None`` if no prompt has completions both before and after.
    """
    ids, means = [], []
    for mask, group_ids in ((before, group_ids_before), (after, group_ids_after)):
        groups = Groups.of(group_ids)
        ids.append(groups.ids)
        means.append(groups.mean(mask.sum(1).double()))
    old, new = means[0][torch.isin(ids[0], ids[1])], means[1][torch.isin(ids[1], ids[0])]
    return _mean(new - old)


@shape_checked
def covariance_weights(
    lengths: Int[Tensor, " batch"], group_ids: Int[Tensor, " batch"], counted: Bool[Tensor, " batch"]
) -> Float[Tensor, " batch"] | None:
    """Weights ``c``: ``sum_i c_i x_i`` is the mean over groups of ``Cov(L, x)`` of the ``counted`` completions.

    Returns:
        Float64, 0 for completions not counted or alone in their group; ``None`` if no group has two that count.
    """
    rows = counted.nonzero().flatten()
    groups = Groups.of(group_ids[rows])
    several = groups.size > 1
    if not bool(several.any()):
        return None
    others = (groups.size - 1).clamp(min=1)[groups.of_row]
    own = centered(lengths[rows].double(), group_ids[rows]) / others / several.sum()
    return torch.zeros(len(lengths), dtype=torch.float64, device=lengths.device).index_copy(0, rows, own)


def _mean(values: Float[Tensor, " groups"]) -> Estimate | None:
    return ratio_of_sums(values, torch.ones_like(values))
