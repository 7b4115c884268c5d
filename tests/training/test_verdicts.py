"""A warning where another reward than the first decides which completions the assigner takes for right."""

import warnings

import pytest
import torch
from updates import run

from iapo.advantages import GroupRelative, InformationAware, KimiLength, LengthShaped
from iapo.rewards import MathAnswer
from iapo.rewards.scores import Scores
from iapo.training.verdicts import warn_of_other_verdicts


def scores_of(**columns):
    values = torch.tensor([[value or 0.0 for value in column] for column in columns.values()])
    scored = torch.tensor([None not in row for row in zip(*columns.values(), strict=True)])
    return Scores(values.sum(0), scored, columns)


def warned(assigner, scores):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warn_of_other_verdicts(assigner, scores)
    return [str(each.message) for each in found]


def test_a_wrong_answer_in_the_right_form_is_told():
    (text,) = warned(InformationAware(), scores_of(accuracy=[1.0, 0.0, 0.0], form=[0.0, 1.0, 0.25]))
    assert "InformationAware" in text
    assert "above correct_above=0.5, and that is not always what 'accuracy' says" in text
    assert "Let 'form' give" in text


def test_a_right_answer_with_a_penalty_is_told():
    assert len(warned(InformationAware(), scores_of(accuracy=[1.0, 1.0], form=[-1.0, -0.25]))) == 1


def test_the_threshold_is_found_in_the_part_that_has_it():
    scores = scores_of(accuracy=[1.0, 0.0], form=[0.0, 1.0])
    (text,) = warned(LengthShaped(GroupRelative(), KimiLength(correct_above=0.75)), scores)
    assert "LengthShaped" in text
    assert "correct_above=0.75" in text
    assert len(warned(InformationAware(LengthShaped(GroupRelative(), KimiLength(correct_above=0.75))), scores)) == 2


@pytest.mark.parametrize(
    ("assigner", "scores"),
    [
        (GroupRelative(), scores_of(accuracy=[1.0, 0.0], form=[0.0, 1.0])),
        (InformationAware(), scores_of(accuracy=[1.0, 0.0], form=[0.25, 0.25])),
        (InformationAware(), scores_of(accuracy=[1.0, 0.0], form=[0.0, 0.5])),
        (InformationAware(correct_above=1.5), scores_of(accuracy=[1.0, 0.0], form=[1.0, 1.0])),
        (InformationAware(correct_above=2.0), scores_of(accuracy=[1.0, 0.0])),
        (InformationAware(), scores_of(accuracy=[1.0, 0.0], form=[0.0, None])),
    ],
    ids=[
        "reads no verdicts",
        "form is worth little",
        "as much as the threshold",
        "another threshold",
        "one reward",
        "not scored",
    ],
)
def test_otherwise_nothing_is_told(assigner, scores):
    assert warned(assigner, scores) == []


def test_it_is_told_once():
    many = [scores_of(accuracy=[1.0, 0.0], form=[0.0, 1.0]), scores_of(accuracy=[0.0] * 3, form=[1.0] * 3)]
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        for scores in many:
            warn_of_other_verdicts(InformationAware(), scores)
    assert len(found) == 1


def test_an_update_tells_it():
    def form(completions, **columns):
        return [1.0] * len(completions)

    with pytest.warns(UserWarning, match="not always what 'accuracy' says"):
        run(rewards={"accuracy": MathAnswer(), "form": form})
