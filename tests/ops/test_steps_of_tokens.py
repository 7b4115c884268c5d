"""Steps against a loop over the tokens of each completion."""

import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo.ops.steps import steps_of


@st.composite
def masks(draw):
    """The tokens that steps are made of, tokens behind which a step ends (anywhere) or none, and the size of a step."""
    rows, width = draw(st.integers(0, 3)), draw(st.integers(0, 7))

    def flags():
        row = st.lists(st.booleans(), min_size=width, max_size=width)
        return torch.tensor(draw(st.lists(row, min_size=rows, max_size=rows))).view(rows, width).bool()

    return flags(), draw(st.one_of(st.none(), st.integers(1, 4))), flags() if draw(st.booleans()) else None


def by_loop(mask, size, stops):
    """The steps of a row as lists of their tokens."""
    found, open_step = [], False
    for token, inside in enumerate(mask):
        if inside and open_step and (size is None or len(found[-1]) < size):
            found[-1].append(token)
        elif inside:
            found.append([token])
        open_step = inside and not (stops is not None and stops[token])
    return found


@given(masks(), st.integers(0, 2**31 - 1))
def test_against_the_loop(case, seed):
    mask, size, stops = case
    steps = steps_of(mask, size, stops)
    expected = [
        by_loop(row, size, None if stops is None else stops[index].tolist()) for index, row in enumerate(mask.tolist())
    ]
    width = max([1, *map(len, expected)])
    assert steps.real.shape == steps.begins.shape == steps.ends.shape == (len(mask), width)
    generator = torch.Generator().manual_seed(seed)
    probes = torch.randn(len(mask), mask.shape[1] + 1, generator=generator, dtype=torch.float64)
    values = torch.randn(mask.shape, generator=generator, dtype=torch.float64).masked_fill(~mask, torch.nan)
    at_ends, gains, means = steps.at_ends(probes), steps.gains(probes), steps.means(values)
    numbers = torch.randn(steps.real.shape, generator=generator, dtype=torch.float64)
    spread = steps.spread(numbers)
    for row, own in enumerate(expected):
        assert steps.real[row].tolist() == [True] * len(own) + [False] * (width - len(own))
        padding = [0] * (width - len(own))
        assert steps.begins[row].tolist() == [tokens[0] for tokens in own] + padding
        assert steps.ends[row].tolist() == [tokens[-1] + 1 for tokens in own] + padding
        before = [own[0][0], *(tokens[-1] + 1 for tokens in own[:-1])] if own else []
        ends = [float(probes[row, tokens[-1] + 1]) for tokens in own]
        assert at_ends[row].tolist() == ends + padding
        gained = [end - float(probes[row, at]) for end, at in zip(ends, before, strict=True)]
        assert gains[row].tolist() == pytest.approx(gained + padding)
        assert means[row].tolist() == pytest.approx(
            [statistics.fmean(values[row][tokens].tolist()) for tokens in own] + padding
        )
        for token in range(mask.shape[1]):
            inside = [step for step, tokens in enumerate(own) if token in tokens]
            assert float(spread[row, token]) == (float(numbers[row, inside[0]]) if inside else 0)
            assert int(steps.index[row, token]) == (inside[0] if inside else sum(tokens[-1] < token for tokens in own))
