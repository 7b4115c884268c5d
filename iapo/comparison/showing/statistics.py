"""What several runs say together: intervals over seeds and problems, the Pareto front, the hardest problems."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.evaluation import Interval, resample


def mean_interval(
    values: Float[Tensor, "run problem"], divisors: Float[Tensor, "run problem"] | None = None
) -> Interval:
    """Mean over runs and problems with a bootstrap interval over both; every run has a number for each problem.

    A resample takes R - 1 of R runs and P - 1 of P problems with replacement, and every pair of them. One fewer
    than there are makes the variance unbiased, which matters for a handful of runs. With s^2 the variances of the
    run effects, problem effects and the remainder of the two-way table (divided by their number, not one less):

        Var = s_run^2 / (R - 1) + s_problem^2 / (P - 1) + s_rest^2 / ((R - 1) (P - 1))

    With one run the interval says nothing about seeds: it is over problems alone. Percentiles of few runs are still
    rough: with two, the resamples hold one run or the other.

    Args:
        values: one number for each run and problem.
        divisors: of the same shape; the mean is divided by theirs, resample by resample.

    Returns:
        The estimate and its 95% percentile interval from 2000 resamples. Resamples whose divisors are all 0 have no
        value and are left out.

    Raises:
        ValueError: no values, or divisors of another shape or that are all 0.

    Example:
        >>> mean_interval(torch.tensor([[1.0, 1.0], [1.0, 1.0]]))
        Interval(value=1.0, low=1.0, high=1.0)

    References:
        Rao and Wu 1988, Resampling inference with complex survey data (samples of n - 1); Owen 2007, The pigeonhole
        bootstrap (crossed resampling).
    """
    _check(values, "values")
    if divisors is not None and divisors.shape != values.shape:
        raise ValueError(f"divisors: got shape {tuple(divisors.shape)}, want {tuple(values.shape)}, from values")
    if divisors is not None:
        _check_some("divisors", divisors)
    generator = torch.Generator().manual_seed(0)
    runs, problems = _weights(values.shape[0], generator), _weights(values.shape[1], generator)
    spread = _resampled(values, runs, problems)
    value = values.double().mean()
    if divisors is not None:
        spread = _quotients(spread, _resampled(divisors, runs, problems))
        value = value / divisors.double().mean()
    return Interval.of_resamples(value, spread)


def difference_interval(
    first: Float[Tensor, "run problem"],
    second: Float[Tensor, "other_run problem"],
    relative: bool = False,
) -> Interval:
    """Difference of two means, ``first - second``, with its interval: the same problems for both, runs separately.

    Args:
        first: one number for each run and problem.
        second: the same problems, other runs.
        relative: ``first / second - 1`` instead. Resamples in which ``second`` is 0 have no value and are left out.

    Raises:
        ValueError: no values, another number of problems, or, to divide by, a ``second`` that is 0 throughout.
    """
    _check(first, "first")
    _check(second, "second")
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"second: got {second.shape[1]} problems, want the {first.shape[1]} of first")
    generator = torch.Generator().manual_seed(0)
    problems = _weights(first.shape[1], generator)
    above = _resampled(first, _weights(first.shape[0], generator), problems)
    below = _resampled(second, _weights(second.shape[0], generator), problems)
    means = first.double().mean(), second.double().mean()
    if relative:
        _check_some("second", second)
        return Interval.of_resamples(means[0] / means[1] - 1, _quotients(above, below) - 1)
    return Interval.of_resamples(means[0] - means[1], above - below)


def pareto_front(lengths: Sequence[float], accuracies: Sequence[float]) -> list[int]:
    """The points that no other beats: shorter at no less accuracy, or more accurate at no more length.

    Returns:
        Their indices, shortest first.

    Example:
        >>> pareto_front([30.0, 20.0, 25.0], [0.9, 0.8, 0.7])
        [1, 0]
    """
    points = list(zip(lengths, accuracies, strict=True))

    def beaten(length: float, accuracy: float) -> bool:
        return any(n <= length and a >= accuracy and (n, a) != (length, accuracy) for n, a in points)

    return sorted((i for i, point in enumerate(points) if not beaten(*point)), key=lambda i: points[i])


def hardest_third(difficulties: Float[Tensor, " problem"]) -> Bool[Tensor, " problem"]:
    """The problems at least as difficult as the one that a third of all begins with, ties included.

    Example:
        >>> hardest_third(torch.tensor([1.0, 3.0, 2.0, 3.0])).tolist()
        [False, True, False, True]
    """
    third = -(-len(difficulties) // 3)
    return difficulties >= difficulties.sort(descending=True).values[third - 1]


def _check(values: Float[Tensor, "run problem"], name: str) -> None:
    if values.ndim != 2 or values.numel() == 0:
        raise ValueError(f"{name}: got shape {tuple(values.shape)}, want (run, problem), both at least 1")


def _check_some(name: str, divisors: Float[Tensor, "run problem"]) -> None:
    if not bool(divisors.any()):
        raise ValueError(f"{name}: all are 0, want at least one that is not")


def _quotients(above: Float[Tensor, " resample"], below: Float[Tensor, " resample"]) -> Float[Tensor, " quotient"]:
    """Those of the resamples that have something to divide by."""
    return above[below != 0] / below[below != 0]


def _weights(count: int, generator: torch.Generator) -> Float[Tensor, "resample count"]:
    """How much each of ``count`` things weighs in each resample; a resample's weights sum to 1."""
    size = max(1, count - 1)
    sampled = resample(count, size, generator)
    weights = torch.zeros(len(sampled), count, dtype=torch.float64)
    return weights.scatter_add_(1, sampled, torch.ones(sampled.shape, dtype=torch.float64)) / size


def _resampled(
    values: Float[Tensor, "run problem"],
    runs: Float[Tensor, "resample run"],
    problems: Float[Tensor, "resample problem"],
) -> Float[Tensor, " resample"]:
    return ((runs @ values.double()) * problems).sum(1)
