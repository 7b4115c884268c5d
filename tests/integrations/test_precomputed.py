"""Rows of advantages are the tensors without their padding, and nothing else gets through."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo import AdvantageOutput
from iapo.integrations.core import Credited
from iapo.integrations.precomputed import precomputed_advantages
from iapo.testing.strategies import reward_batches


@given(batch=reward_batches(), data=st.data())
def test_rows_of_the_lengths_of_the_completions(batch, data):
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    mask = batch.completion_mask
    in_loss = mask & (torch.rand(mask.shape, generator=generator) < 0.7)
    # Outside of the loss mask stands what must not be read.
    values = torch.randn(mask.shape, generator=generator).masked_fill(~in_loss, float("nan"))
    expected = []
    for row in range(len(mask)):
        expected.append([])
        for token in range(mask.shape[1]):
            if mask[row, token]:
                expected[row].append(float(values[row, token]) if in_loss[row, token] else 0.0)
    assert precomputed_advantages(Credited(values, in_loss, None, {}), mask) == expected
    assert precomputed_advantages(AdvantageOutput(values, in_loss, {}), mask) == expected


FULL = torch.ones(2, 3, dtype=torch.bool)
SHORT = torch.tensor([[True, True, True], [True, False, False]])


@pytest.mark.parametrize(
    ("advantages", "loss_mask", "completion_mask", "error", "message"),
    [
        (torch.zeros(2, 4), FULL, FULL, ValueError, "credited.advantages: got shape (2, 4), want that of completion_"),
        (torch.zeros(2, 3), FULL[:1], FULL, ValueError, "credited.loss_mask: got shape (1, 3), want that of completi"),
        (torch.zeros(2, 3), FULL, SHORT, ValueError, "credited.loss_mask: True behind the completion in rows [1]"),
        (torch.zeros(2, 3), SHORT.flip(1), SHORT.flip(1), ValueError, "completion_mask: not right-padded in rows [1]"),
        (torch.full((2, 3), torch.inf), FULL, FULL, FloatingPointError, "NaN or infinite value in rows [0, 1]"),
        (torch.zeros(2, 3, device="meta"), FULL, FULL, ValueError, "all tensors must lie on one device"),
    ],
)
def test_refused(advantages, loss_mask, completion_mask, error, message):
    with pytest.raises(error, match=re.escape(message)) as raised:
        precomputed_advantages(Credited(advantages, loss_mask, None, {}), completion_mask)
    assert "\n" not in str(raised.value)
