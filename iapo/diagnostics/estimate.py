"""Estimates with a standard error over groups, and the sums over groups from which they are computed."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.ops.checks import check_finite
from iapo.ops.groups import Groups
from iapo.ops.shapes import shape_checked


@dataclass(frozen=True)
class Estimate:
    """An estimate from completions in groups.

    Args:
        value: the estimate.
        standard_error: over groups, which are assumed to be independent samples; ``None`` with one group.
        groups: the number of groups that contribute.
    """

    value: float
    standard_error: float | None
    groups: int

    def metrics(self, name: str) -> dict[str, float]:
        """The value as ``name`` and, if there is one, its standard error as ``name_se``.

        Example:
            >>> Estimate(-0.5, 0.1, groups=32).metrics("iapo/diagnostics/length_change/realized")
            {'iapo/diagnostics/length_change/realized': -0.5, 'iapo/diagnostics/length_change/realized_se': 0.1}
        """
        return {name: self.value} | ({} if self.standard_error is None else {f"{name}_se": self.standard_error})


@shape_checked
def ratio_of_sums(numerators: Float[Tensor, " groups"], denominators: Float[Tensor, " groups"]) -> Estimate | None:
    """``b = sum_g n_g / sum_g d_g``, with its standard error for ``G`` independent groups.

    ``se^2 = G / (G - 1) * sum_g (n_g - b d_g)^2 / (sum_g d_g)^2``, by the delta method. With all ``d_g = 1`` these are
    a mean and its standard error; with sums over tokens, a mean over tokens; with sums of ``x y`` and ``x^2``, a
    regression's slope with standard errors clustered by group.

    Args:
        numerators: one number per group.
        denominators: not negative; a group with 0 does not contribute.

    Returns:
        ``None`` if no group contributes.

    Raises:
        FloatingPointError: a number is NaN or infinite.
        ValueError: a negative denominator.

    Example:
        >>> import torch
        >>> ratio_of_sums(torch.tensor([1.0, 3.0]), torch.ones(2))
        Estimate(value=2.0, standard_error=1.0, groups=2)
    """
    check_finite("numerators", numerators)
    check_finite("denominators", denominators)
    if bool((denominators < 0).any()):
        raise ValueError(f"denominators: got {float(denominators.min())}, want numbers of at least 0")
    counted = denominators > 0
    above, below = numerators[counted].double(), denominators[counted].double()
    groups = len(below)
    if groups == 0:
        return None
    value = above.sum() / below.sum()
    if groups == 1:
        return Estimate(float(value), None, 1)
    spread = (above - value * below).square().sum() * groups / (groups - 1)
    return Estimate(float(value), float(spread.sqrt() / below.sum()), groups)


@shape_checked
def mean_over_tokens(
    values: Float[Tensor, "batch token"], mask: Bool[Tensor, "batch token"], group_ids: Int[Tensor, " batch"]
) -> Estimate | None:
    """The mean over the tokens of a mask, with its standard error over groups; ``None`` if there are none."""
    total = values.double().masked_fill(~mask, 0).sum(1)
    return ratio_of_sums(sum_by_group(total, group_ids), sum_by_group(mask.sum(1).double(), group_ids))


@shape_checked
def sum_by_group(values: Float[Tensor, " batch"], group_ids: Int[Tensor, " batch"]) -> Float[Tensor, " groups"]:
    """Sum of each group's values in float64, the groups in ascending order of their ids."""
    return Groups.of(group_ids).sum(values.double())


@shape_checked
def centered(values: Float[Tensor, " batch"], group_ids: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """``values`` minus their group's mean, float64; exactly 0 in a group of equal integers."""
    groups = Groups.of(group_ids)
    return values.double() - groups.mean(values.double())[groups.of_row]


@shape_checked
def group_covariances(
    first: Float[Tensor, " batch"], second: Float[Tensor, " batch"], group_ids: Int[Tensor, " batch"]
) -> Float[Tensor, " several"]:
    """Covariance within each group of at least two: ``sum (x - mean x)(y - mean y) / (n - 1)``, float64.

    Unbiased for the covariance under the distribution that the group's completions were sampled from.

    Args:
        first: one number per completion.
        second: likewise.
        group_ids: completions with equal ids are a group; a group of one has no covariance and is left out.

    Returns:
        One number per group of at least two, in ascending order of their ids.
    """
    groups = Groups.of(group_ids)
    several = groups.size > 1
    products = groups.sum(centered(first, group_ids) * centered(second, group_ids))
    return products[several] / (groups.size[several] - 1)
