"""Bisection finds the prefix that the whole curve has, by few probes, and says where the curve is not monotone."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from models import tiny_model

from iapo.estimators import AnswerLikelihood, Bisected, EarlyExitEntropy, PrefixEstimator
from iapo.estimators.packed import needed_probes
from iapo.ops.sufficient_prefix import is_there, sufficient_prefix
from iapo.testing import rollouts

MODEL = tiny_model("llama", layers=1)
THRESHOLDS = st.sampled_from([0.1, 0.5, 0.9])
RELATIVE = st.sampled_from(["certainty", "end"])


class Recorded(PrefixEstimator):
    """Hands out prepared values and records what was asked for."""

    def __init__(self, values, sign=1):
        self.values, self.information_sign, self.calls = values, sign, []

    def probe_at(self, model, rollout, at, cache=None):
        self.calls.append(at)
        return self.values.masked_fill(~at, 0)


def prefix_of(values, needed, threshold, relative_to):
    return sufficient_prefix(is_there(values, needed, threshold, relative_to), needed)


def random_values(rollout, seed, monotone):
    values = -3 * torch.rand(needed_probes(rollout).shape, generator=torch.Generator().manual_seed(seed))
    return values.sort(1).values if monotone else values


@given(rollouts(max_token=40), st.integers(0, 99), THRESHOLDS, RELATIVE, st.integers(0, 4), st.sampled_from([1, -1]))
def test_of_monotone_curves_it_finds_what_all_probes_find(rollout, seed, threshold, relative_to, checks, sign):
    needed, values = needed_probes(rollout), random_values(rollout, seed, monotone=True)
    estimator = Recorded(sign * values, sign)
    found = Bisected(estimator, threshold, relative_to, checks).bisect(MODEL, rollout)
    expected = prefix_of(values, needed, threshold, relative_to)
    prefix = prefix_of(sign * found.probes, needed, threshold, relative_to)
    for name in ("first", "length", "reached", "stays"):
        assert torch.equal(getattr(prefix, name), getattr(expected, name))
    assert found.monotone.all()
    assert found.rounds == len(estimator.calls)
    assert torch.equal(found.probed, torch.stack(estimator.calls).any(0) if estimator.calls else needed)
    assert not (found.probed & ~needed).any()
    torch.testing.assert_close(found.probes[found.probed], (sign * values)[found.probed])
    assert not found.probes[~needed].any()
    for row, count in enumerate(needed.sum(1).tolist()):
        between = math.ceil(max(0, count - 1) / (checks + 1))
        assert found.probed[row].sum() <= 2 + checks + math.ceil(math.log2(max(1, between)))


@given(rollouts(max_token=40), st.integers(0, 99), THRESHOLDS, RELATIVE, st.integers(0, 4))
def test_what_the_checks_see_is_probed_everywhere(rollout, seed, threshold, relative_to, checks):
    needed, values = needed_probes(rollout), random_values(rollout, seed, monotone=False)
    assume(bool(needed.any()))
    estimator = Recorded(values)
    found = Bisected(estimator, threshold, relative_to, checks).bisect(MODEL, rollout)
    first = estimator.calls[0]
    for row, count in enumerate(needed.sum(1).tolist()):
        where = needed[row].nonzero().flatten().tolist()
        marks = sorted({where[(count - 1) * k // (checks + 1)] for k in range(checks + 2)} if count else set())
        assert first[row].nonzero().flatten().tolist() == marks
        least = math.log(threshold) + (float(values[row, where[-1]]) if count and relative_to == "end" else 0.0)
        there = [float(values[row, t]) >= least for t in marks]
        assert bool(found.monotone[row]) == (there == sorted(there))
        if not found.monotone[row]:
            assert torch.equal(found.probed[row], needed[row])
            assert torch.equal(found.probes[row, needed[row]], values[row, needed[row]])
    everywhere = prefix_of(values, needed, threshold, relative_to)
    prefix = prefix_of(found.probes, needed, threshold, relative_to)
    assert torch.equal(prefix.length[~found.monotone], everywhere.length[~found.monotone])
    assert (prefix.lost | found.monotone).all()


@given(rollouts())
def test_as_many_checks_as_prefixes_are_the_whole_curve(rollout):
    estimator = AnswerLikelihood((5, 6), guard=False)
    found = Bisected(estimator, checks=40)(MODEL, rollout)
    torch.testing.assert_close(found, estimator(MODEL, rollout), atol=1e-5, rtol=0)


def test_it_passes_on_what_it_wraps():
    inner = EarlyExitEntropy((5, 6), temperature=0.7)
    assert Bisected(inner).information_sign == -1
    assert Bisected(inner).temperature == 0.7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 0.0}, "threshold: got 0.0"),
        ({"relative_to": "start"}, "relative_to: got 'start', want one of certainty, end"),
        ({"checks": -1}, "checks: got -1"),
    ],
)
def test_bad_parameters_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Bisected(EarlyExitEntropy((5, 6)), **settings)
