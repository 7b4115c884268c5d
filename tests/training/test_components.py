"""What travels together must fit together."""

import dataclasses

import pytest
import torch
from updates import components_of, embedded_model

from iapo.advantages import GroupRelative, InformationAware, LeaveOutPriced
from iapo.estimators import (
    AnswerEntropy,
    AnswerLikelihood,
    Bisected,
    EarlyExitEntropy,
    LeaveOut,
    MonteCarloInformation,
    NoInformation,
    PrefixEstimator,
    Refined,
    StepBoundaries,
)
from iapo.losses import ClippedPolicyLoss
from iapo.rollout import CompactingSampler
from iapo.training.components import Components, UpdateSettings, check_answer_is_read, warn_of_nothing_measured


class Nothing(PrefixEstimator):
    """Probes, and says that it measures nothing."""

    measures = False

    def probe_at(self, model, rollout, at, cache=None):
        return torch.zeros(at.shape)


def at(temperature: float, **changes) -> Components:
    made = components_of(embedded_model(), assigner=GroupRelative())
    sampler = dataclasses.replace(made.sampler, temperature=temperature)
    return dataclasses.replace(made, sampler=sampler, **changes)


@pytest.mark.parametrize("wrapped", [False, True])
def test_information_is_measured_at_the_temperature_of_sampling(wrapped):
    estimator = AnswerLikelihood((5, 6), temperature=0.7)
    if wrapped:
        estimator = Refined(estimator)
    assert at(0.7, estimator=estimator, assigner=InformationAware()).estimator is estimator
    with pytest.raises(ValueError, match=r"estimator.temperature: got 0.7, the sampler's is 1.0; give both the same"):
        at(1.0, estimator=estimator, assigner=InformationAware())


def test_what_is_not_measured_may_have_any():
    assert at(0.7, estimator=AnswerLikelihood((5, 6)), assigner=GroupRelative()).sampler.temperature == 0.7
    assert at(0.7, estimator=NoInformation(), assigner=InformationAware()).estimator.temperature is None


@pytest.mark.parametrize(
    ("assigner", "estimator", "told"),
    [
        (InformationAware(), NoInformation(), True),
        (LeaveOutPriced(GroupRelative()), NoInformation(), True),
        (InformationAware(), Refined(Nothing()), True),
        (InformationAware(alpha=0.0, beta=0.1), NoInformation(), False),
        (GroupRelative(), NoInformation(), False),
        (InformationAware(), AnswerLikelihood((5, 6)), False),
    ],
)
def test_information_that_is_read_and_never_measured_is_told(assigner, estimator, told, recwarn):
    warn_of_nothing_measured(estimator, assigner)
    messages = [str(each.message) for each in recwarn]
    assert len(messages) == told
    assert all("measures nothing" in each and "such as LeaveOut" in each for each in messages)


FORCED = {"samples": 2, "answers": "forced", "postfix_ids": (4, 5), "max_answer_tokens": 2}


@pytest.mark.parametrize(
    ("estimator", "why"),
    [
        (AnswerLikelihood((4, 5)), None),
        (Refined(AnswerLikelihood((4, 5))), None),
        (MonteCarloInformation(CompactingSampler, measure="likelihood", samples=2), None),
        (MonteCarloInformation(CompactingSampler, measure="likelihood", **FORCED), None),
        (LeaveOut(StepBoundaries((7,))), "asks for no answer"),
        (AnswerEntropy((4, 5), candidates=((1,), (2,))), "asks for no answer"),
        (MonteCarloInformation(CompactingSampler, samples=2), "asks for no answer"),
        (MonteCarloInformation(CompactingSampler, **FORCED), "whichever it is"),
        (AnswerEntropy((4, 5)), "whichever it is"),
        (EarlyExitEntropy((4, 5)), "whichever it is"),
        (Bisected(EarlyExitEntropy((4, 5))), "whichever it is"),
    ],
    ids=lambda value: type(value).__name__ if value is not None and not isinstance(value, str) else value,
)
def test_the_reference_is_for_estimators_that_measure_one_answer(estimator, why):
    check_answer_is_read("own", estimator, GroupRelative())
    if why is None:
        check_answer_is_read("reference", estimator, InformationAware())
        with pytest.raises(ValueError, match="answer: got 'reference', and GroupRelative reads no information"):
            check_answer_is_read("reference", estimator, GroupRelative())
    else:
        with pytest.raises(ValueError, match=f"answer: got 'reference', and {type(estimator).__name__} .*{why}"):
            check_answer_is_read("reference", estimator, InformationAware())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": ClippedPolicyLoss}, "loss: got the class ClippedPolicyLoss, want an object .* iapo.PolicyLoss"),
        ({"assigner": NoInformation()}, "assigner: got a NoInformation, want an object .* iapo.AdvantageAssigner"),
        ({"optimizer": torch.optim.SGD([torch.zeros(1)])}, "optimizer: got a SGD, want .* iapo.PolicyOptimizer"),
    ],
)
def test_a_part_of_another_kind_is_named(changes, message):
    with pytest.raises(TypeError, match=message):
        at(1.0, **changes)


def test_a_sampler_without_a_temperature_is_named():
    made = at(1.0)
    object.__setattr__(made.sampler, "temperature", None)
    with pytest.raises(TypeError, match=r"sampler.temperature: got None, want a number"):
        dataclasses.replace(made)


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="answer: got 'refernce', want one of own, reference"):
        UpdateSettings(2, 2, answer="refernce")
    with pytest.raises(TypeError, match="autocast: got 'bf16', want a dtype"):
        UpdateSettings(2, 2, autocast="bf16")
