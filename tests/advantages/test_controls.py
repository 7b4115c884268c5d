"""The controls: what stays of the information, what goes, and what the outcome is handed."""

import pytest
import torch
from advantage_batches import batches
from hypothesis import given, settings
from hypothesis import strategies as st

from iapo import AdvantageOutput, TokenSignals
from iapo.advantages import (
    GroupRelative,
    InformationAware,
    KimiLength,
    LengthShaped,
    PermutedInformation,
    RandomInformation,
    TailPenalty,
    TurnGain,
    WrappingAssigner,
)
from iapo.ops.masked import beside

CONTROLS = [PermutedInformation, RandomInformation]


class Recording(WrappingAssigner):
    """Keeps the signals that it is handed."""

    outcome = GroupRelative()
    requires = frozenset({"information", "prefix_values"})

    def assign(self, inputs):
        self.signals = inputs.signals
        return self.assign_outcome(inputs)


def shown_to_outcome(control, batch, seed=0, **changes):
    """The signals that the outcome of a control is handed."""
    rewards, ids, mask, signals = batch
    recording = Recording()
    torch.manual_seed(seed)
    control(recording)(rewards, ids, mask, TokenSignals(**vars(signals) | changes))
    return recording.signals


@settings(max_examples=40)
@given(batches(), st.integers(0, 2**16))
def test_permuting_keeps_the_values_of_each_completion(batch, seed):
    signals = batch[3]
    shown = shown_to_outcome(PermutedInformation, batch, seed)
    for before, after, counts in zip(signals.information, shown.information, signals.information_mask, strict=True):
        assert sorted(after[counts].tolist()) == sorted(before[counts].tolist())
        assert not after[~counts].any()
    for name in ("information_mask", "policy_entropy", "policy_logprobs"):
        assert torch.equal(getattr(shown, name), getattr(signals, name))


@pytest.mark.parametrize("control", CONTROLS)
@settings(max_examples=40)
@given(batch=batches())
def test_prefix_values_belong_to_the_information(control, batch):
    """Differences over measured tokens are the new information, those over others the old ones, up to the largest."""
    signals = batch[3]
    shown, mask = shown_to_outcome(control, batch), signals.information_mask
    old, new, read = signals.prefix_values.double(), shown.prefix_values.double(), beside(mask)
    for row in range(len(mask)):
        prefixes = read[row].nonzero().flatten().tolist()
        for prefix in prefixes:
            tokens = mask[row, :prefix]
            gained = (shown.information - signals.information)[row, :prefix][tokens].double().sum().item()
            expected = min(old[row, prefix].item() + gained, old[row, prefixes].max().item())
            assert new[row, prefix] == pytest.approx(expected, abs=1e-5)
    assert not new[~read].any()


@pytest.mark.parametrize("control", CONTROLS)
def test_a_curve_of_log_likelihoods_stays_one(control):
    """The order of a large loss and a large gain would lift the curve above 0 on the way."""
    values = torch.tensor([[-5.0, -9.0, -1.0, -7.0, -0.1]]).expand(50, 5)
    signals = TokenSignals(information=values.diff(dim=1), prefix_values=values)
    rule, mask = control(TurnGain()), torch.ones(50, 4, dtype=torch.bool)
    torch.manual_seed(0)
    assert rule(torch.ones(50), torch.arange(50) // 2, mask, signals).advantages.isfinite().all()


def test_any_order_is_as_likely():
    information = torch.tensor([[1.0, 5.0, 2.0, 3.0]]).expand(3000, 4)
    mask = torch.tensor([[True, False, True, True]]).expand(3000, 4)
    torch.manual_seed(0)
    shown = PermutedInformation(GroupRelative()).replace(information * mask, mask)
    orders, counts = shown[:, [0, 2, 3]].unique(dim=0, return_counts=True)
    assert len(orders) == 6
    assert (counts - 500).abs().max() < 5 * (3000 * 1 / 6 * 5 / 6) ** 0.5
    assert not shown[:, 1].any()


def test_random_values_have_the_moments_in_expectation():
    """Over many completions with the same information, within five standard errors."""
    rows, information = 4000, torch.tensor([0.0, 0.5, 3.0, 9.0])
    mask = torch.tensor([True, True, True, False]).expand(rows, 4)
    torch.manual_seed(0)
    shown = RandomInformation(GroupRelative()).replace(information.expand(rows, 4) * mask, mask)[:, :3].double()
    mean, variance = information[:3].double().mean(), information[:3].double().var(correction=0)
    error = (variance / shown.numel()).sqrt()
    assert abs(shown.mean() - mean) < 5 * error
    assert abs((shown - mean).square().mean() / variance - 1) < 5 * (2 / shown.numel()) ** 0.5
    assert abs((shown[:, 0] - mean).mul(shown[:, 2] - mean).mean()) < 5 * variance / rows**0.5


@pytest.mark.parametrize("control", CONTROLS)
@settings(max_examples=40)
@given(batch=batches())
def test_tokens_without_measurement_are_left_alone(control, batch):
    """What is outside of the mask does not matter, and 0 is shown there."""
    signals = batch[3]
    mask = signals.information_mask
    garbage = signals.information.masked_fill(~mask, torch.nan)
    shown, expected = shown_to_outcome(control, batch, information=garbage), shown_to_outcome(control, batch)
    assert torch.equal(shown.information, expected.information)
    assert not shown.information[~mask].any()


@pytest.mark.parametrize("control", CONTROLS)
def test_the_same_seed_gives_the_same_values(control):
    information = torch.arange(40.0).reshape(4, 10)
    batch = (torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([0, 0, 1, 1]), torch.ones(4, 10, dtype=torch.bool))
    batch = (*batch, TokenSignals(information=information, prefix_values=torch.zeros(4, 11)))
    first, again, other = (shown_to_outcome(control, batch, seed).information for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, information)


@pytest.mark.parametrize("control", CONTROLS)
def test_nested_assigners_get_what_they_require(control):
    nested = LengthShaped(control(InformationAware(beta=0.1, outcome=TailPenalty())), KimiLength())
    assert nested.requires == {"information", "prefix_values", "policy_logprobs"}
    mask = torch.ones(2, 3, dtype=torch.bool)
    values = torch.tensor([[-3.0, -2.0, -0.1, 0.0], [-3.0, -1.0, -1.0, -0.5]])
    signals = TokenSignals(
        information=values.diff(dim=1), prefix_values=values, policy_logprobs=-torch.rand(2, 3, generator=None)
    )
    output = nested(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask, signals)
    assert "information" in output.terms
    scheduled = control(InformationAware()).at(0.5)
    assert scheduled == control(InformationAware())


@pytest.mark.parametrize("control", CONTROLS)
def test_prefix_values_alone_are_enough(control):
    """An outcome that reads the curve only need not be given the information."""
    mask, values = torch.ones(2, 3, dtype=torch.bool), torch.tensor([[-3.0, -2.0, -0.1, 0.0], [-3.0, -1.0, -0.9, -0.5]])
    rule = control(TailPenalty(threshold=0.9))
    torch.manual_seed(0)
    found = rule(torch.ones(2), torch.tensor([0, 0]), mask, TokenSignals(prefix_values=values))
    torch.manual_seed(0)
    both = TokenSignals(prefix_values=values, information=values.diff(dim=1))
    assert torch.equal(found.advantages, rule(torch.ones(2), torch.tensor([0, 0]), mask, both).advantages)


@pytest.mark.parametrize("control", CONTROLS)
def test_an_outcome_that_reads_none_is_not_changed(control):
    rewards, ids, mask = torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.ones(2, 3, dtype=torch.bool)
    found: AdvantageOutput = control(GroupRelative())(rewards, ids, mask)
    assert torch.equal(found.advantages, GroupRelative()(rewards, ids, mask).advantages)
    assert control(GroupRelative()).requires == frozenset()
