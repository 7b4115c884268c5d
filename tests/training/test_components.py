"""What travels together must fit together."""

import dataclasses

import pytest
from updates import components_of, embedded_model

from iapo.advantages import GroupRelative, InformationAware, LeaveOutPriced
from iapo.estimators import AnswerLikelihood, NoInformation, Refined
from iapo.training.components import Components, warn_of_nothing_measured


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
        (InformationAware(), Refined(NoInformation()), True),
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
