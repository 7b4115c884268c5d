"""Estimates with their bootstrap intervals."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from iapo.ops.arguments import arguments_named
from iapo.ops.checks import check_finite
from iapo.ops.shapes import shape_checked

RESAMPLES = 2000
"""Resamples of each bootstrap."""

LEVEL = 0.95
"""Share of the resamples' values that lie in an interval."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap interval: the 2.5% and 97.5% percentiles of what resamples gave."""

    value: float
    low: float
    high: float

    @classmethod
    def of_resamples(cls, value: Float[Tensor, ""], resamples: Float[Tensor, " resample"]) -> "Interval":
        """An estimate with the percentiles of what resamples gave in its place."""
        ends = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=resamples.dtype)
        low, high = resamples.quantile(ends).tolist()
        return cls(float(value), low, high)

    def __str__(self) -> str:
        return format(self)

    def __format__(self, form: str) -> str:
        """The estimate with its interval in parentheses, the three numbers in a format of Python's for numbers,
        ``.3g`` if none is given.

        Example:
            >>> f"{Interval(0.5, 0.25, 0.75):.3f}", f"{Interval(0.1, -0.1, 0.3):+.0%}"
            ('0.500 (0.250 to 0.750)', '+10% (-10% to +30%)')
        """
        value, ends = self.texts(form or ".3g")
        return f"{value} ({ends})"

    def texts(self, form: str) -> tuple[str, str]:
        """The estimate, and the ends of its interval, in a format of Python's for numbers.

        Example:
            >>> Interval(0.5, 0.25, 0.75).texts(".2f")
            ('0.50', '0.25 to 0.75')
        """
        return f"{self.value:{form}}", f"{self.low:{form}} to {self.high:{form}}"


@shape_checked
def interval(
    values: Float[Tensor, " problem"], divisors: Float[Tensor, " problem"] | None = None, seed: int = 0
) -> Interval:
    """Mean over problems (divided by the mean of ``divisors``) with its bootstrap interval.

    Args:
        values: one number per problem.
        divisors: one number per problem, for a ratio of means.
        seed: of the bootstrap.

    Returns:
        The estimate and its 95% percentile interval from 2000 resamples of problems. Resamples whose divisors are all
        0 have no value and are left out.

    Raises:
        FloatingPointError: a number is NaN or infinite.
        ValueError: no problem, or divisors that are all 0.
    """
    if len(values) == 0:
        raise ValueError("values: got none, want at least one problem")
    check_finite("values", values)
    if divisors is not None:
        check_finite("divisors", divisors)
    if divisors is not None and not bool(divisors.any()):
        raise ValueError("divisors: all are 0, want at least one problem that has something to divide by")
    sampled = resample(len(values), len(values), torch.Generator().manual_seed(seed))
    below = torch.ones_like(values) if divisors is None else divisors
    value = values.mean() / below.mean()
    divided = below[sampled].mean(1)
    kept = divided != 0
    return Interval.of_resamples(value, values[sampled].mean(1)[kept] / divided[kept])


@arguments_named
def resample(count: int, size: int, generator: torch.Generator) -> Int[Tensor, "resample sample"]:
    """Indices of the 2000 resamples of a bootstrap, each of ``size`` out of ``count`` things, with replacement."""
    return torch.randint(count, (RESAMPLES, size), generator=generator)
