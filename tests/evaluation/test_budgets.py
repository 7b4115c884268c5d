"""The curve over budgets: its area against a loop, what it refuses, and the default budgets."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo.evaluation import BudgetCurve, default_budgets

grids = st.sets(st.integers(1, 500), max_size=8).map(lambda found: (0, *sorted(found)))


@st.composite
def curves(draw) -> BudgetCurve:
    budgets = draw(grids)
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 4)), len(budgets)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    return BudgetCurve(budgets, torch.rand(shape, generator=generator) < 0.5)


def area_by_loop(budgets: tuple[int, ...], shares: list[float]) -> float:
    """The mean of the curve over every tenth of a token, each value read between two budgets."""
    if len(budgets) == 1:
        return shares[0]
    total, count = 0.0, 0
    for (low, left), (high, right) in itertools.pairwise(zip(budgets, shares, strict=True)):
        for step in range((high - low) * 10):
            share = (step + 0.5) / ((high - low) * 10)
            total, count = total + left + (right - left) * share, count + 1
    return total / count


@given(curves())
def test_the_area_is_the_mean_accuracy_over_the_axis(curve):
    for problem in range(len(curve.correct)):
        shares = [
            sum(bool(sample[index]) for sample in curve.correct[problem]) / curve.correct.shape[1]
            for index in range(len(curve.budgets))
        ]
        assert curve.accuracy[problem].tolist() == pytest.approx(shares)
        assert float(curve.area[problem]) == pytest.approx(area_by_loop(curve.budgets, shares), abs=1e-9)


@given(curves(), st.integers(1, 9))
def test_the_area_has_no_unit(curve, factor):
    stretched = BudgetCurve(tuple(factor * budget for budget in curve.budgets), curve.correct)
    torch.testing.assert_close(stretched.area, curve.area)
    assert bool(((curve.area >= 0) & (curve.area <= 1)).all())


@given(curves())
def test_a_curve_that_is_flat_has_its_height_as_area(curve):
    flat = BudgetCurve(curve.budgets, curve.correct[:, :, :1].expand_as(curve.correct))
    torch.testing.assert_close(flat.area, flat.accuracy[:, 0])


@pytest.mark.parametrize("budgets", [(), (1, 2), (0, 4, 4), (0, 4, 3)])
def test_budgets_must_rise_from_zero(budgets):
    with pytest.raises(ValueError, match=r"budgets: got .* that rise from 0"):
        BudgetCurve(budgets, torch.zeros(1, 1, len(budgets)).bool())


def test_there_is_one_column_for_each_budget():
    with pytest.raises(ValueError, match=r"correct: got shape \(1, 2, 3\), want three axes, the last of 2"):
        BudgetCurve((0, 4), torch.zeros(1, 2, 3).bool())


@given(st.lists(st.integers(0, 4000), min_size=1, max_size=60))
def test_default_budgets_reach_over_nearly_all_lengths(lengths):
    budgets = default_budgets(torch.tensor(lengths))
    assert budgets[0] == 0
    assert list(budgets) == sorted(set(budgets))
    assert len(budgets) <= 10
    assert sum(length <= budgets[-1] for length in lengths) >= 0.95 * len(lengths)
    assert budgets[-1] in (0, *lengths)
    smaller = [length for length in lengths if length < budgets[-1]]
    assert len(smaller) < math.ceil(0.95 * len(lengths)), "no shorter completion would do"


def test_each_default_budget_is_a_root_of_two_below_the_next():
    budgets = default_budgets(torch.tensor([1600] * 20 + [90_000]))
    assert budgets[0] == 0
    for low, high in itertools.pairwise(budgets[1:]):
        assert high / low == pytest.approx(2**0.5, rel=0.01)
    assert budgets[1] == 100
    assert budgets[-1] == 1600
    assert default_budgets(torch.tensor([0, 0])) == (0,)
