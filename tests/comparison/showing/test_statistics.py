"""Intervals against a closed form, the front against enumeration."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo.comparison.showing import statistics
from iapo.comparison.showing.statistics import (
    difference_interval,
    hardest_third,
    mean_interval,
    pareto_front,
)


def table(runs: int, problems: int, seed: int) -> torch.Tensor:
    """Run effects, problem effects and a remainder, all of about the same weight in the variance of the mean."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return 0.3 * normal(runs, 1) + normal(1, problems) + 2 * normal(runs, problems)


def closed_form(values: torch.Tensor) -> float:
    """Variance of the bootstrapped mean: run effects, problem effects and remainder of the two-way table."""
    runs, problems = values.shape
    by_run, by_problem = values.mean(1, keepdim=True), values.mean(0, keepdim=True)
    rest = values - by_run - by_problem + values.mean()
    found = 0.0
    for part, draws in ((by_run, runs - 1), (by_problem, problems - 1), (rest, (runs - 1) * (problems - 1))):
        found += float(part.var(correction=0)) / draws
    return found


@pytest.mark.parametrize(("runs", "problems"), [(5, 40), (8, 8), (3, 100)])
def test_resamples_have_the_variance_of_the_closed_form(runs, problems, monkeypatch):
    monkeypatch.setattr("iapo.evaluation.intervals.RESAMPLES", 40_000)
    values = table(runs, problems, seed=runs)
    generator = torch.Generator().manual_seed(0)
    weights = statistics._weights(runs, generator), statistics._weights(problems, generator)
    spread = statistics._resampled(values, *weights)
    assert float(spread.var()) == pytest.approx(closed_form(values), rel=0.04)
    assert float(spread.mean()) == pytest.approx(float(values.mean()), abs=4 * closed_form(values) ** 0.5 / 200)


def test_the_interval_has_the_width_of_the_normal_approximation():
    values = table(30, 200, seed=1)
    found = mean_interval(values)
    assert found.value == pytest.approx(float(values.mean()))
    assert found.high - found.low == pytest.approx(2 * 1.96 * closed_form(values) ** 0.5, rel=0.1)


def test_runs_that_differ_widen_the_interval():
    problems = table(1, 200, seed=2)
    alike, apart = problems.repeat(4, 1), problems + torch.tensor([[-3.0], [-1.0], [1.0], [3.0]])
    one, same, wide = (mean_interval(values) for values in (problems, alike, apart))
    assert same.high - same.low == pytest.approx(one.high - one.low, rel=0.15)
    assert wide.high - wide.low > 3 * (one.high - one.low)


tables = st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(0, 1000)).map(lambda case: table(*case))


@given(tables, st.floats(0.1, 10), st.floats(-5, 5))
def test_scaling_and_shifting_move_the_interval_with_the_values(values, scale, shift):
    plain, moved = mean_interval(values), mean_interval(values * scale + shift)
    for name in ("value", "low", "high"):
        assert getattr(moved, name) == pytest.approx(getattr(plain, name) * scale + shift, abs=1e-9)


@given(tables)
def test_an_interval_is_ordered_and_within_the_values(values):
    found = mean_interval(values)
    assert found.low <= found.high
    assert float(values.min()) - 1e-12 <= found.low
    assert found.high <= float(values.max()) + 1e-12


@given(tables, st.floats(0.1, 9))
def test_a_ratio_of_proportional_values_is_certain(values, factor):
    found = mean_interval((values.abs() + 1) * factor, values.abs() + 1)
    assert found.low == pytest.approx(factor)
    assert found.high == pytest.approx(factor)


@given(tables)
def test_a_difference_pairs_problems_and_leads_back_to_the_mean(values):
    zero = torch.zeros(2, values.shape[1])
    shift = difference_interval(values, zero)
    assert shift.value == pytest.approx(float(values.mean()))
    first = values[:1]
    same = difference_interval(first, (first + 2).repeat(3, 1))
    assert same.low == pytest.approx(-2)
    assert same.high == pytest.approx(-2)
    share = difference_interval(first.abs() + 1, (first.abs() + 1) * 2, relative=True)
    assert (share.value, share.low, share.high) == pytest.approx((-0.5, -0.5, -0.5))


def test_resamples_without_anything_to_divide_by_are_left_out():
    found = mean_interval(torch.tensor([[6.0, 0.0, 0.0]]), torch.tensor([[2.0, 0.0, 0.0]]))
    assert (found.value, found.low, found.high) == pytest.approx((3, 3, 3))
    share = difference_interval(torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([[2.0, 0.0, 0.0]]), relative=True)
    assert (share.value, share.low, share.high) == pytest.approx((0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="divisors: all are 0"):
        mean_interval(torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="second: all are 0"):
        difference_interval(torch.ones(1, 2), torch.zeros(1, 2), relative=True)


def test_shapes_must_fit():
    with pytest.raises(ValueError, match=r"values: got shape \(0, 3\)"):
        mean_interval(torch.zeros(0, 3))
    with pytest.raises(ValueError, match=r"divisors: got shape \(1, 3\), want \(2, 3\)"):
        mean_interval(torch.zeros(2, 3), torch.ones(1, 3))
    with pytest.raises(ValueError, match="second: got 4 problems, want the 3 of first"):
        difference_interval(torch.zeros(2, 3), torch.zeros(2, 4))


few = st.integers(0, 4).map(float)


@given(st.lists(st.tuples(few, few), min_size=1, max_size=8))
def test_the_front_is_what_nothing_beats(points):
    lengths, accuracies = [p[0] for p in points], [p[1] for p in points]
    front = pareto_front(lengths, accuracies)
    for i, (length, accuracy) in enumerate(points):
        better = any(
            n <= length and a >= accuracy and (n < length or a > accuracy)
            for (n, a) in itertools.chain(points[:i], points[i + 1 :])
        )
        assert (i in front) == (not better)
    assert [lengths[i] for i in front] == sorted(lengths[i] for i in front)


@given(st.lists(few, min_size=1, max_size=20))
def test_the_hardest_third_is_no_easier_than_the_rest(difficulties):
    hard = hardest_third(torch.tensor(difficulties)).tolist()
    inside = [d for d, is_hard in zip(difficulties, hard, strict=True) if is_hard]
    outside = [d for d, is_hard in zip(difficulties, hard, strict=True) if not is_hard]
    assert 3 * len(inside) >= len(difficulties)
    assert not outside or max(outside) < min(inside)
    assert 3 * sum(d > min(inside) for d in difficulties) < len(difficulties)
