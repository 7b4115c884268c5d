"""Checks as pytest parameters, strategies, and what is said without hypothesis."""

import functools
import importlib
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo import ClippedOptimizer, PolicyOptimizer
from iapo.advantages import GroupRelative
from iapo.estimators import NoInformation
from iapo.interfaces import information_between
from iapo.losses import ClippedPolicyLoss
from iapo.ops.masked import beside
from iapo.rollout import ScriptedSampler
from iapo.testing import (
    assigner_checks,
    checks_of,
    estimator_checks,
    loss_checks,
    optimizer_checks,
    parametrize_with_checks,
    reward_batches,
    rollouts,
    sampler_checks,
    token_signals,
)

SCRIPTED = ScriptedSampler(lambda prompt, index: [5])


def sgd(model):
    return ClippedOptimizer(torch.optim.SGD(model.parameters(), lr=0.1))


class WithoutState(PolicyOptimizer):
    def __init__(self, model):
        pass

    def accumulate(self, loss, boundary):
        pass


def test_every_check_of_every_component_is_a_parameter():
    mark = parametrize_with_checks([NoInformation(), (ClippedPolicyLoss(), {"reinforce": False})]).mark
    names, parameters = mark.args
    assert names == ("component", "check")
    assert [parameter.id for parameter in parameters] == [
        *(f"NoInformation-{check.name}" for check in estimator_checks()),
        *(f"ClippedPolicyLoss-{check.name}" for check in loss_checks()),
    ]


def test_a_check_that_does_not_apply_is_skipped_in_sight():
    parameters = parametrize_with_checks([SCRIPTED]).mark.args[1]
    reasons = {parameter.id: mark.kwargs["reason"] for parameter in parameters for mark in parameter.marks}
    assert reasons["ScriptedSampler-model_untouched"] == "model_untouched needs a sampler with a `model`"
    assert len(reasons) == 3
    parameters = parametrize_with_checks([WithoutState]).mark.args[1]
    reasons = {parameter.id: mark.kwargs["reason"] for parameter in parameters for mark in parameter.marks}
    wanted = "resumed needs an optimizer with `state_dict` and `load_state_dict`"
    assert reasons == {"WithoutState-resumed": wanted}


@pytest.mark.parametrize(
    ("component", "checks"),
    [
        (NoInformation(), estimator_checks),
        (GroupRelative(), assigner_checks),
        (ClippedPolicyLoss(), loss_checks),
        (SCRIPTED, sampler_checks),
        (sgd, optimizer_checks),
        (functools.partial(sgd), optimizer_checks),
        (WithoutState, optimizer_checks),
    ],
)
def test_checks_of_an_interface_have_different_names(component, checks):
    names = [check.name for check in checks_of(component)]
    assert names == [check.name for check in checks()]
    assert len(set(names)) == len(names)


def test_what_is_no_component_or_no_option_is_refused():
    wanted = "want one of MIEstimator, AdvantageAssigner, PolicyLoss, Sampler, or a function that makes a PolicyOptim"
    for other in (torch.nn.Linear(1, 1), sgd(torch.nn.Linear(1, 1))):
        with pytest.raises(TypeError, match=f"got {type(other).__name__}, {wanted}"):
            checks_of(other)
    with pytest.raises(TypeError, match="unexpected keyword argument 'tolerances'"):
        checks_of(GroupRelative(), tolerances=1)


def test_a_check_that_does_not_apply_refuses_to_run():
    check = next(check for check in estimator_checks() if check.name == "chunk")
    with pytest.raises(ValueError, match="NoInformation: the check chunk does not apply, it needs a dataclass with"):
        check(NoInformation())


def test_without_hypothesis_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "iapo.testing")
    with pytest.raises(ModuleNotFoundError, match=r"hypothesis is missing: .* 'iapo\[testing\]'"):
        importlib.import_module("iapo.testing")


@given(st.data(), st.integers(2, 40), st.integers(1, 5))
def test_rollouts_keep_to_their_limits(data, vocab, max_token):
    rollout = data.draw(rollouts(vocab=vocab, max_token=max_token, holes=False))
    assert int(rollout.completion_ids.max()) < vocab
    assert int(rollout.completion_lengths.max()) <= max_token
    assert not rollout.sampler_logprobs[~rollout.completion_mask].any()
    assert (torch.diff(rollout.reasoning_mask.int(), dim=1).abs().sum(1) <= 2).all()


@given(reward_batches(min_group=3, max_group=5, ties=False))
def test_reward_batches_without_ties(batch):
    lengths = batch.completion_mask.sum(1)
    assert len(lengths.unique()) == len(batch.rewards.unique()) == len(lengths)
    counts = batch.group_ids.unique(return_counts=True)[1]
    assert 3 <= counts.min() <= counts.max() <= 5


@given(st.data(), reward_batches())
def test_signals_are_zero_where_nothing_was_measured(data, batch):
    signals = data.draw(token_signals(batch.completion_mask))
    measured = batch.completion_mask if signals.information_mask is None else signals.information_mask
    assert not (measured & ~batch.completion_mask).any()
    assert not signals.information[~measured].any()
    assert not signals.prefix_values[~beside(measured)].any()
    assert torch.equal(signals.information, information_between(signals.prefix_values, measured))
    assert not signals.policy_entropy[~batch.completion_mask].any()
    assert (signals.policy_logprobs <= 0).all()
