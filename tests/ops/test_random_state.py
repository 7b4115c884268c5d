"""Random numbers drawn inside of a fork are not missed outside."""

import contextlib
import random

import numpy
import pytest
import torch

from iapo.ops.random_state import fork_rng, seed_rng


@pytest.mark.parametrize(
    "draw", [lambda: torch.rand(1).item(), random.random, numpy.random.rand], ids=["torch", "python", "numpy"]
)
@pytest.mark.parametrize("fails", [False, True])
def test_random_numbers_inside_are_not_missed(draw, fails):
    seed_rng(0)
    expected = [draw(), draw()]
    seed_rng(0)
    assert draw() == expected[0]
    with contextlib.suppress(ZeroDivisionError), fork_rng(torch.device("cpu")):
        draw()
        _ = 1 / (not fails)
    assert draw() == expected[1]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_random_numbers_inside_are_not_missed_on_cuda():
    torch.manual_seed(0)
    expected = torch.rand(2, device="cuda")
    torch.manual_seed(0)
    with fork_rng(torch.device("cuda")):
        torch.rand(5, device="cuda")
    assert torch.equal(torch.rand(2, device="cuda"), expected)
