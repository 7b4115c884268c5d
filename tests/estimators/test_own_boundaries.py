"""Boundaries of one's own: what they return is checked by their name, and what is none is refused when it is given."""

import pytest
import torch
from ragged_rollouts import rollout

from iapo.estimators import AnswerLikelihood, Boundaries, EveryTokens, LeaveOut, Refined
from iapo.testing import tiny_llama

TEXTS = rollout()
SHAPE = (len(TEXTS), TEXTS.completion_ids.shape[1] + 1)


class Mine(Boundaries):
    def __init__(self, returned):
        self.returned = returned

    def __call__(self, rollout):
        return self.returned


class Changes(Boundaries):
    def __call__(self, rollout):
        rollout.completion_mask.logical_not_()
        return torch.ones(SHAPE, dtype=torch.bool)


def leave_out(boundaries):
    return LeaveOut(boundaries)


def refined(boundaries):
    return Refined(AnswerLikelihood((5, 6)), boundaries=boundaries)


def always(boundaries):
    return Refined(AnswerLikelihood((5, 6)), always=boundaries)


USERS = pytest.mark.parametrize("user", [leave_out, refined, always])


@USERS
@pytest.mark.parametrize(
    ("boundaries", "message"),
    [
        (Mine(None), "Mine: got NoneType, want a tensor of torch.bool"),
        (Mine([[True]]), "Mine: got list, want a tensor of torch.bool"),
        (Mine(torch.ones(SHAPE)), "Mine: got torch.float32, want a tensor of torch.bool"),
        (Mine(torch.tensor([True])), r"Mine: want shape \(batch, token \+ 1\) = \(\d, \d+\), got \(1,\)"),
        (Mine(torch.ones(SHAPE, dtype=torch.bool, device="meta")), "Mine: .* got boundaries on meta, rollout on cpu"),
        (Changes(), "Changes.__call__: changed completion_mask in place"),
    ],
)
def test_what_they_return_is_checked_by_their_name(user, boundaries, message):
    with pytest.raises((TypeError, ValueError), match=message):
        user(boundaries)(tiny_llama(), rollout())


@USERS
@pytest.mark.parametrize(("other", "got"), [(EveryTokens, "the class EveryTokens"), (3, "3"), (len, "<built-in")])
def test_what_is_none_is_refused_when_it_is_given(user, other, got):
    name = "always" if user is always else "boundaries"
    with pytest.raises(TypeError, match=f"{name}: got {got}.*, want an object of Boundaries"):
        user(other)
