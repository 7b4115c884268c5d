"""Ragged batches for diagnostics, and naive loops to compare with."""

import math
import statistics

import pytest
import torch
from hypothesis import strategies as st

from iapo import Rollout


@st.composite
def ragged(draw):
    """Completions of a random tabular policy's vocabulary in groups of 1 to 6, in any order, garbage in the padding."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    ids = draw(st.permutations([50 - 3 * g for g, size in enumerate(sizes) for _ in range(size)]))
    width = draw(st.integers(1, 6))
    lengths = torch.tensor(draw(st.lists(st.integers(0, width), min_size=len(ids), max_size=len(ids))))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31 - 1)))
    mask = torch.arange(width) < lengths[:, None]
    shape = mask.shape

    def noise():
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    rollout = Rollout(
        prompt_ids=torch.randint(0, 4, (len(ids), 2), generator=generator),
        prompt_mask=torch.ones(len(ids), 2, dtype=torch.bool),
        completion_ids=torch.randint(0, 4, shape, generator=generator),
        completion_mask=mask,
        reasoning_mask=mask & (torch.rand(shape, generator=generator) < 0.7),
        group_ids=torch.tensor(ids),
    )
    return rollout, noise(), noise()


def rows_of(ids, counted=None):
    """Rows by group, those counted alone."""
    groups = {}
    for row, group in enumerate(ids.tolist()):
        if counted is None or counted[row]:
            groups.setdefault(group, []).append(row)
    return list(groups.values())


def covariance(x, y):
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    return math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / (len(x) - 1)


def mean_of(values):
    """Mean and standard error."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return statistics.fmean(values), error


def same(estimate, expected, tolerance=1e-9):
    value, error = expected
    assert estimate.value == pytest.approx(value, abs=tolerance, rel=tolerance)
    assert (estimate.standard_error is None) == (error is None)
    assert error is None or estimate.standard_error == pytest.approx(error, abs=tolerance, rel=tolerance)
