"""The curve, its steps, and the sufficient prefix."""

import math
import statistics

import pytest
import torch
from curve_loops import curves, first_there, gains_of, measured_prefixes, rows_of, stays_from, steps_of, there_at
from hypothesis import given
from hypothesis import strategies as st

from iapo import AdvantageInputs, TokenSignals
from iapo.advantages.steps import steps_by
from iapo.advantages.sufficient.curve import curve_of, describe_prefix
from iapo.ops.sufficient_prefix import behind_prefix, first_and_last, is_there, sufficient_prefix

THRESHOLDS = st.sampled_from([0.05, 0.2, 0.5, 0.9, 1.0])
SIZES = st.sampled_from([1, 2, 3, None])


def curve(*rows, measured=None):
    """The curve of rows of values, nats."""
    values = torch.tensor(rows, dtype=torch.float64)
    mask = torch.ones(len(rows), len(rows[0]) - 1, dtype=torch.bool)
    signals = TokenSignals(prefix_values=values, information_mask=measured)
    ids, correct = torch.zeros(len(rows), dtype=torch.long), torch.zeros(len(rows), dtype=torch.bool)
    return curve_of(AdvantageInputs(torch.zeros(len(rows)), correct, ids, mask, signals))


def prefix_of(found, threshold=0.5, relative_to="certainty"):
    return sufficient_prefix(is_there(found.values, found.measured, threshold, relative_to), found.measured)


@given(curves(), THRESHOLDS, st.sampled_from(["certainty", "end"]))
def test_sufficient_prefix_against_the_loop(batch, threshold, relative_to):
    found = curve_of(batch)
    prefix = prefix_of(found, threshold, relative_to)
    for i, (values, mask) in enumerate(rows_of(batch)):
        prefixes = measured_prefixes(mask)
        assert found.measured[i].nonzero().flatten().tolist() == prefixes
        there = there_at(values, mask, threshold, relative_to)
        longest = prefixes[-1] if prefixes else 0
        for name, expected in (("first", first_there(there)), ("length", stays_from(there))):
            exists = prefix.reached if name == "first" else prefix.stays
            assert bool(exists[i]) == (expected is not None)
            assert int(getattr(prefix, name)[i]) == (longest if expected is None else expected)
        monotone = all(not there[t] or there[u] for t in there for u in there if t < u)
        assert bool(prefix.lost[i]) == (not monotone)
        assert first_and_last(found.measured[i : i + 1])[1].tolist() == [longest]


@given(curves(), SIZES, st.sampled_from([(), (0, 1, 2), (0, 1, 2, 3, 4, 5, 6)]))
def test_steps_against_the_loop(batch, size, after):
    found = curve_of(batch)
    steps = steps_by(batch, found.mask, size, after)
    values = torch.arange(float(steps.real.numel())).reshape(steps.real.shape) + 1
    spread, gains = steps.spread(values), steps.gains(found.values)
    logprobs = batch.signals.policy_logprobs.masked_fill(~found.mask, torch.nan)
    means = steps.means(logprobs)
    for i, (numbers, mask) in enumerate(rows_of(batch)):
        expected = steps_of(mask, size, batch.signals.completion_ids[i].tolist(), after)
        assert [*zip(steps.begins[i].tolist(), steps.ends[i].tolist(), strict=True)][: len(expected)] == expected
        assert steps.real[i].sum() == len(expected)
        assert not steps.ends[i, len(expected) :].any()
        held = [next((k for k, (a, b) in enumerate(expected) if a <= t < b), None) for t in range(len(mask))]
        before = [sum(b <= t for _, b in expected) for t in range(len(mask))]
        assert steps.index[i].tolist() == [n if k is None else k for k, n in zip(held, before, strict=True)]
        assert spread[i].tolist() == [0.0 if k is None else float(values[i, k]) for k in held]
        assert gains[i].tolist()[: len(expected)] == pytest.approx(gains_of(numbers, expected))
        assert not gains[i, len(expected) :].any()
        averages = [statistics.fmean(logprobs[i, a:b].tolist()) for a, b in expected]
        assert means[i].tolist()[: len(expected)] == pytest.approx(averages)
        assert not means[i, len(expected) :].any()


def test_relative_to_the_end_it_is_always_there():
    found = curve([-9.0, -8.0, -6.2, -6.0], [-1.0, -5.0, -7.0, -9.0])
    prefix = prefix_of(found, 0.5, "end")
    assert prefix.length.tolist() == [2, 0]
    assert prefix.stays.all()
    assert not prefix_of(found, 0.5).stays.any()
    assert prefix_of(found, 0.5).length.tolist() == [3, 3]


def test_a_threshold_that_is_met_exactly_counts():
    found = curve([-1.0, 0.0], [-1.0, -1.0])
    assert prefix_of(found, 1.0).stays.tolist() == [True, False]
    assert prefix_of(found, 1.0, "end").length.tolist() == [1, 0]


def test_a_lost_answer_is_told():
    found = curve([-5.0, 0.0, -5.0, -0.1], [-5.0, -5.0, 0.0, 0.0], [-5.0, 0.0, 0.0, -5.0], [-5.0, -5.0, -5.0, -5.0])
    prefix = prefix_of(found)
    assert prefix.lost.tolist() == [True, False, True, False]
    assert prefix.first.tolist() == [1, 2, 1, 3]
    assert prefix.length.tolist() == [3, 2, 3, 3]
    metrics = describe_prefix(prefix, found)
    assert metrics["iapo/sufficient/found"] == 0.5
    assert metrics["iapo/sufficient/lost"] == 0.5
    assert metrics["iapo/sufficient/length"] == pytest.approx((1 + 2 / 3) / 2)


def test_single_tokens_and_answers_known_from_the_start():
    found = curve([-5.0, -0.1], [-0.1, -0.1], [-0.1, -5.0])
    prefix = prefix_of(found)
    assert prefix.length.tolist() == [1, 0, 1]
    assert prefix.stays.tolist() == [True, True, False]
    assert behind_prefix(prefix.length, prefix.stays, found.mask)[:, 0].tolist() == [False, True, False]


def test_what_was_not_measured_has_no_prefix_and_no_metrics():
    found = curve([0.0, 0.0, 0.0])
    prefix = prefix_of(found)
    assert not found.measured.any()
    assert not found.mask.any()
    assert not (prefix.reached | prefix.stays | prefix.lost).any()
    assert prefix.first.tolist() == prefix.length.tolist() == [0]
    assert describe_prefix(prefix, found) == {}
    nowhere = curve([-1.0, -2.0, -3.0], measured=torch.tensor([[False, False]]))
    assert not nowhere.values.any()
    assert describe_prefix(prefix_of(nowhere), nowhere) == {}


def test_probabilities_are_those_of_measured_prefixes():
    found = curve([-1.0, -2.0, 0.0005], [-1.0, -1.0, -1.0], measured=torch.tensor([[False, True], [True, False]]))
    expected = [[0.0, math.exp(-2.0), 1.0], [math.exp(-1.0), math.exp(-1.0), 0.0]]
    torch.testing.assert_close(found.probabilities(), torch.tensor(expected, dtype=torch.float64))


def test_values_that_are_no_probabilities_are_refused():
    with pytest.raises(ValueError, match=r"signals.prefix_values: got 2 nats in rows \[1\], want log-likelihoods"):
        curve([-1.0, -1.0], [-1.0, 2.0]).probabilities()
