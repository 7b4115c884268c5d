"""Random numbers drawn inside of a fork are not missed outside."""

import pytest
import torch

from iapo.ops.random_state import fork_rng


def test_random_numbers_inside_are_not_missed():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    with fork_rng(torch.device("cpu")):
        torch.rand(5)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_random_numbers_inside_are_not_missed_on_cuda():
    torch.manual_seed(0)
    expected = torch.rand(2, device="cuda")
    torch.manual_seed(0)
    with fork_rng(torch.device("cuda")):
        torch.rand(5, device="cuda")
    assert torch.equal(torch.rand(2, device="cuda"), expected)
