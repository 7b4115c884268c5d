"""Whether long completions have less information per token: the assumption under which shaping shortens them."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.diagnostics.estimate import Estimate, centered, ratio_of_sums, sum_by_group
from iapo.ops.checks import check_finite
from iapo.ops.masked import masked_mean
from iapo.ops.shapes import shape_checked


@shape_checked
def information_slope(
    information: Float[Tensor, "batch token"],
    information_mask: Bool[Tensor, "batch token"],
    completion_mask: Bool[Tensor, "batch token"],
    group_ids: Int[Tensor, " batch"],
) -> Estimate | None:
    """Slope of mean information per token against completion length, within groups: nats per token, per token.

    ``sum (L - mean_g L)(s - mean_g s) / sum (L - mean_g L)^2`` over all completions, ``s`` the mean over a completion's
    measured tokens: least squares with one intercept per group, as harder prompts have longer completions. The standard
    error is clustered by group.

    Corollary 4.2 assumes a slope below 0. Part of a negative slope is arithmetic: a completion's information sums to
    ``H_0 - H_L``, and if that is the same for all completions, the mean per token falls as ``1 / L``.

    *Degenerate cases.* Completions without a measured token, and groups with fewer than two others or of equal lengths,
    do not contribute. If no group contributes there is no slope.

    Args:
        information: nats, as an estimator gives it.
        information_mask: where information was measured.
        completion_mask: ``True`` at the completions' tokens; their number is the length.
        group_ids: completions with equal ids are a group.

    Returns:
        ``None`` if no group has completions of two lengths.

    Raises:
        FloatingPointError: information that was measured is NaN or infinite; the rows are named.

    Example:
        >>> import torch
        >>> mask = torch.tensor([[True, True, True], [True, False, False]])
        >>> information = torch.tensor([[0.125, 0.125, 0.125], [0.5, 0.0, 0.0]])
        >>> information_slope(information, mask, mask, torch.tensor([0, 0]))
        Estimate(value=-0.1875, standard_error=None, groups=1)

    References:
        IAPO, arXiv 2602.19049, corollary 4.2.
    """
    check_finite("information", information.masked_fill(~information_mask, 0))
    measured = information_mask.any(1)
    groups = group_ids[measured]
    length = centered(completion_mask[measured].sum(1).double(), groups)
    rate = masked_mean(information[measured].double(), information_mask[measured], dim=1)
    return ratio_of_sums(sum_by_group(length * centered(rate, groups), groups), sum_by_group(length.square(), groups))
