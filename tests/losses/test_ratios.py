"""Shares of clipped tokens at the bounds themselves, which are not clipped."""

import pytest
import torch

from iapo.losses.ratios import check_clip, log_ratio, surrogate_clip_shares


def test_a_ratio_at_a_bound_is_not_clipped():
    """Numbers that binary fractions hold exactly; the ratios are columns of a completion."""
    ratios, advantages = torch.tensor([[0.5, 0.25, 1.5, 1.75]]), torch.tensor([[-0.5, -0.5, 0.5, 0.5]])
    shares = surrogate_clip_shares(ratios, advantages, 0.5, 0.5)
    assert shares["clip_ratio/low_mean"].tolist() == [[0, 1, 0, 0]]
    assert shares["clip_ratio/high_mean"].tolist() == [[0, 0, 0, 1]]
    assert shares["clip_ratio/region_mean"].tolist() == [[0, 1, 0, 1]]


def test_log_ratios_are_clamped_so_that_their_exponential_is_finite():
    found = log_ratio(torch.tensor([[-500.0, -1.0, 500.0]]), torch.tensor([[0.0, -3.0, 0.0]]))
    assert found.tolist() == [[-20.0, 2.0, 20.0]]
    assert log_ratio(torch.zeros(1, 1).bfloat16(), torch.zeros(1, 1).bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("clip", [(-0.1, 0.2), (1.1, 0.2), (0.2, -0.1), (0.2, float("inf")), (float("nan"), 0.2)])
def test_clip_ranges_that_make_no_sense(clip):
    with pytest.raises(ValueError, match="clip_"):
        check_clip(*clip)


def test_the_widest_and_the_narrowest_clip_range():
    check_clip(0.0, 0.0)
    check_clip(1.0, 1e6)
