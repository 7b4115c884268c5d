"""The released code's formulas against a loop over answer entropies, and the faults that make them what they are."""

import pytest
import references
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo import TokenSignals
from iapo.advantages import GroupRelative, InformationAware, OfficialCompat


@given(st.integers(0, 2**31 - 1), st.integers(1, 6), st.integers(0, 3))
def test_against_the_loop(seed, token, padding):
    generator = torch.Generator().manual_seed(seed)
    answer_entropy = torch.rand(3, token + 1, generator=generator, dtype=torch.float64)
    entropy = torch.rand(3, token + padding, generator=generator, dtype=torch.float64)
    rewards = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
    ids, mask = torch.tensor([0, 0, 0]), torch.zeros(3, token + padding, dtype=torch.bool)
    mask[:, :token] = True
    pad = torch.zeros(3, padding, dtype=torch.float64)
    information = torch.cat([answer_entropy[:, :-1] - answer_entropy[:, 1:], pad], 1)
    signals = TokenSignals(information=information, policy_entropy=entropy)
    found = OfficialCompat(0.7, 0.3)(rewards, ids, mask, signals).advantages
    outcome = references.group_relative(rewards.tolist(), [0, 0, 0], 1e-4)
    for i, sign in enumerate([1, 0, -1]):
        h = answer_entropy[i].tolist()
        row = [(h[t] + h[t - 1]) / 2 - h[t + 1] if t else h[0] - h[1] for t in range(token)]
        term = references.released_term(row + [0.0] * padding)
        explored = references.released_term(entropy[i, :token].tolist() + [0.0] * padding)
        expected = [outcome[i] + 0.7 * s - sign * 0.3 * e for s, e in zip(term, explored, strict=True)]
        torch.testing.assert_close(found[i, :token], torch.tensor(expected[:token], dtype=torch.float64))
    assert not found[:, token:].any()


def test_its_faults_are_kept():
    rewards, ids, mask = torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.ones(2, 3, dtype=torch.bool)
    information = torch.tensor([[0.1, 0.5, 0.2], [0.3, 0.1, 0.4]])
    narrow = OfficialCompat(1.0, 0.0)(rewards, ids, mask, TokenSignals(information=information)).advantages
    pad = torch.nn.functional.pad
    wide = OfficialCompat(1.0, 0.0)(rewards, ids, pad(mask, (0, 2)), TokenSignals(information=pad(information, (0, 2))))
    assert (wide.advantages[:, :3] - narrow).abs().max() > 0.05
    paper = InformationAware.paper(1.0, 0.0)(rewards, ids, mask, TokenSignals(information=information)).advantages
    assert (paper - narrow).abs().max() > 0.05


def test_without_weights_it_is_grpo_to_the_bit():
    rewards, ids, mask = torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.ones(2, 3, dtype=torch.bool)
    assert not OfficialCompat(0.0, 0.0).requires
    expected = GroupRelative()(rewards, ids, mask).advantages
    assert torch.equal(OfficialCompat(0.0, 0.0)(rewards, ids, mask).advantages, expected)


@pytest.mark.parametrize("width", [0, 1, 4])
def test_rows_without_spread_and_garbage(width):
    """Nothing measured, one token, all alike: finite, and NaN beside the measured span changes nothing."""
    rewards, ids, mask = torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.ones(2, width, dtype=torch.bool)
    nothing = TokenSignals(
        information=torch.full((2, width), torch.nan),
        information_mask=torch.zeros(2, width, dtype=torch.bool),
        policy_entropy=torch.zeros(2, width),
    )
    expected = GroupRelative()(rewards, ids, mask).advantages
    assert torch.equal(OfficialCompat(1.0, 1.0)(rewards, ids, mask, nothing).advantages, expected)
    alike = TokenSignals(information=torch.zeros(2, width), policy_entropy=torch.full((2, width), 0.3))
    term = OfficialCompat(0.0, 1.0)(rewards, ids, mask, alike).advantages - expected
    torch.testing.assert_close(term[0], torch.full((width,), -1 / max(1, width) ** 0.5), atol=1e-6, rtol=0)


def test_bad_parameters_are_named():
    with pytest.raises(ValueError, match=r"beta: got -1\.0"):
        OfficialCompat(1.0, -1.0)
