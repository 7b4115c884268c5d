"""Hypothesis strategy of what an assigner is called with."""

import torch
from hypothesis import strategies as st

from iapo import TokenSignals


@st.composite
def batches(draw):
    """Rewards, group ids in any order, ragged masks with empty rows, signals with holes in the measured span."""
    groups = draw(st.lists(st.integers(2, 4), min_size=1, max_size=3))
    ids = [100 + 7 * g for g, size in enumerate(groups) for _ in range(size)]
    ids = draw(st.permutations(ids))
    token = draw(st.integers(1, 9))
    lengths = draw(st.lists(st.integers(0, token), min_size=len(ids), max_size=len(ids)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31 - 1)))
    mask = torch.arange(token) < torch.tensor(lengths)[:, None]
    shape = (len(ids), token)
    values = -2 * torch.rand(shape[0], token + 1, generator=generator)
    signals = TokenSignals(
        information=values[:, 1:] - values[:, :-1],
        information_mask=mask & (torch.rand(shape, generator=generator) < 0.8),
        prefix_values=values,
        policy_entropy=torch.rand(shape, generator=generator) * 2,
        policy_logprobs=-torch.rand(shape, generator=generator) * 3,
    )
    rewards = torch.randint(0, 3, (len(ids),), generator=generator) / 2
    return rewards, torch.tensor(ids), mask, signals
