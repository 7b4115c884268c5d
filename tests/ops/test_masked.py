"""Masked reductions against plain loops, and what an empty mask means."""

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo.ops.masked import masked_extremes, masked_mean, masked_std, masked_sum


@st.composite
def cases(draw):
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    numbers = st.floats(-100, 100, width=32)
    values = draw(st.lists(st.lists(numbers, min_size=columns, max_size=columns), min_size=rows, max_size=rows))
    mask = draw(st.lists(st.lists(st.booleans(), min_size=columns, max_size=columns), min_size=rows, max_size=rows))
    return torch.tensor(values), torch.tensor(mask)


@given(cases())
def test_against_the_loop(case):
    values, mask = case
    poisoned = values.masked_fill(~mask, torch.nan)
    for row in range(len(values)):
        kept = values[row][mask[row]].tolist()
        assert float(masked_sum(poisoned, mask, dim=1)[row]) == pytest.approx(math.fsum(kept), abs=1e-3)
        mean = statistics.fmean(kept) if kept else 0.0
        spread = statistics.pstdev(kept) if len(set(kept)) > 1 else 0.0
        assert float(masked_mean(poisoned, mask, dim=1)[row]) == pytest.approx(mean, abs=1e-4)
        assert float(masked_std(poisoned, mask, dim=1)[row]) == pytest.approx(spread, abs=1e-3, rel=1e-4)


def test_nothing_is_zero():
    empty = torch.zeros(3, 0)
    for reduce in (masked_sum, masked_mean, masked_std):
        assert reduce(empty, empty.bool()) == 0
        assert torch.equal(reduce(empty, empty.bool(), dim=1), torch.zeros(3))
    for values in (empty, torch.ones(3, 2)):
        nothing = torch.zeros(values.shape, dtype=torch.bool)
        assert masked_extremes(values, nothing) == (torch.inf, -torch.inf)
        low, high = masked_extremes(values, nothing, dim=1)
        assert low.tolist() == [torch.inf] * 3
        assert high.tolist() == [-torch.inf] * 3


def test_constant_values_have_no_spread_at_all():
    values = torch.full((1, 1000), 0.1)
    assert masked_std(values, torch.ones_like(values).bool()) == 0


def test_reduced_precision_is_widened():
    values = torch.ones(4096, dtype=torch.bfloat16)
    assert masked_sum(values, values.bool()) == 4096
