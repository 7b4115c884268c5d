"""OAR's weights against a naive loop, and what they keep."""

import math

import pytest
import torch
from advantage_batches import batches
from hypothesis import given
from hypothesis import strategies as st

from iapo import TokenSignals
from iapo.advantages import GroupRelative, InformationAware, OARReshaped

CHOICES = st.tuples(
    st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.sampled_from([0.0, 1.0, 2.5]), st.sampled_from([0.1, 0.4])
)


def loop(importance, quantile, boost, floor):
    """Weights of one completion's tokens."""
    logs = [math.log1p(max(value, 0.0)) for value in importance]
    spread = max(logs, default=0.0) - min(logs, default=0.0)
    if not spread:
        return [1.0] * len(logs)
    scaled = [(value - min(logs)) / spread for value in logs]
    place = quantile * (len(scaled) - 1)
    below, above = (sorted(scaled)[index] for index in (math.floor(place), math.ceil(place)))
    tau = below + (above - below) * (place - math.floor(place))
    weights = []
    for value in scaled:
        if value < tau:
            weights.append(max(value / tau, floor))
        else:
            weights.append(1 + boost * ((value - tau) / (1 - tau) if tau < 1 else 0.0))
    return [weight * len(weights) / sum(weights) for weight in weights]


@given(batches(), CHOICES)
def test_it_is_the_loop(batch, choices):
    rewards, ids, mask, signals = batch
    output = OARReshaped(GroupRelative(), *choices)(rewards, ids, mask, signals)
    outcome = GroupRelative()(rewards, ids, mask)
    weights = torch.ones(mask.shape, dtype=torch.float64)
    for row, measured in enumerate(signals.information_mask):
        found = loop(signals.information[row, measured].double().tolist(), *choices)
        weights[row, measured] = torch.tensor(found, dtype=torch.float64)
    torch.testing.assert_close(output.advantages.double(), outcome.advantages * weights, atol=1e-5, rtol=1e-5)
    assert torch.equal(output.loss_mask, outcome.loss_mask)


@given(batches(), CHOICES)
def test_the_sum_over_a_completion_is_kept(batch, choices):
    rewards, ids, mask, signals = batch
    found = OARReshaped(GroupRelative(), *choices)(rewards, ids, mask, signals).advantages
    outcome = GroupRelative()(rewards, ids, mask).advantages
    torch.testing.assert_close(found.sum(1), outcome.sum(1), atol=1e-5, rtol=1e-5)


def test_importance_raises_a_token_and_only_measured_ones_change():
    rewards, ids, mask = torch.tensor([1.0, 0.0]), torch.tensor([3, 3]), torch.ones(2, 5, dtype=torch.bool)
    importance = torch.tensor([[0.0, 3.0, 0.1, 0.2, 9.0]]).expand(2, -1)
    measured = torch.tensor([[True, True, True, True, False]]).expand(2, -1)
    signals = TokenSignals(information=importance, information_mask=measured)
    found, outcome = (each(rewards, ids, mask, signals).advantages for each in (OARReshaped(), GroupRelative()))
    assert found[0, 1] > found[0, 3] > found[0, 2] > found[0, 0] > 0
    assert torch.equal(found[:, 4], outcome[:, 4])
    assert torch.equal(found[1], -found[0])


def test_terms_of_the_outcome_are_reshaped_with_it():
    rewards, ids, mask = torch.tensor([1.0, 0.0]), torch.tensor([3, 3]), torch.ones(2, 4, dtype=torch.bool)
    signals = TokenSignals(information=torch.rand(2, 4))
    output = OARReshaped(InformationAware())(rewards, ids, mask, signals)
    torch.testing.assert_close(sum(output.terms.values()), output.advantages)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"quantile": 1.5}, "quantile: got 1.5"), ({"boost": -1.0}, "boost: got -1.0"), ({"floor": -0.1}, "floor: got")],
)
def test_bad_parameters_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        OARReshaped(**settings)
