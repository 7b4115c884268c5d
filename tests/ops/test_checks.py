"""What is no number, or none that fits, is named where it is given."""

import math

import pytest
import torch

from iapo.advantages.schedules import Cosine, Linear, Warmup
from iapo.estimators import AnswerLikelihood, OARGradient, Refined
from iapo.estimators.boundaries import StepBoundaries
from iapo.ops.checks import check_integers, check_number, is_finite_number
from iapo.optimizers import ClippedOptimizer
from iapo.policy.lora import LoRA
from iapo.rewards import MathAnswer, score
from iapo.training import UpdateSettings
from iapo.training.configuration.settings import RunSettings


def test_an_integer_beyond_every_float_is_no_finite_number():
    assert not is_finite_number(10**400)
    assert not is_finite_number(-(10**400))
    with pytest.raises(ValueError, match="weight: got 1000"):
        check_number("weight", 10**400)


@pytest.mark.parametrize("values", [(), [4], (4, -1), (4, 5.0), (True, "4"), 4, None])
def test_what_are_no_integers_is_named(values):
    with pytest.raises(ValueError, match=r"some_ids: got .*, want a tuple of integers of at least 0, not empty"):
        check_integers("some_ids", values, least=0)


def test_integers_that_fit():
    check_integers("ids", (0, 7), least=0)
    check_integers("ids", (), or_empty=True)
    with pytest.raises(ValueError, match=r"ids: got \(0,\), want a tuple of integers of at least 1$"):
        check_integers("ids", (0,), or_empty=True)


def optimizer(limit):
    return ClippedOptimizer(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]), limit)


def scored(time_limit):
    return score({"r": lambda completions, **_: [0.0]}, ["q"], ["a"], [[1]], {}, time_limit=time_limit)


@pytest.mark.parametrize("value", [math.inf, math.nan, "1"])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda value: StepBoundaries(surprisal=value), "surprisal"),
        (lambda value: Refined(AnswerLikelihood((1,)), threshold=value), "threshold"),
        (lambda value: OARGradient((1,), seed=value), "seed"),
        (lambda value: LoRA(r=value), "lora.r"),
        (lambda value: LoRA(alpha=value), "lora.alpha"),
        (lambda value: MathAnswer(time_limit=value), "time_limit"),
        (lambda value: UpdateSettings(2, 2, reward_time_limit=value), "reward_time_limit"),
        (lambda value: Linear(start=value, end=0.0), "start"),
        (lambda value: Cosine(start=0.0, end=value), "end"),
        (lambda value: Warmup(peak=value, until=0.5), "peak"),
        (optimizer, "max_grad_norm"),
        (scored, "time_limit"),
    ],
)
def test_what_is_infinite_or_no_number_is_named(make, name, value):
    with pytest.raises(ValueError, match=f"{name}: got {value!r}, want"):
        make(value)


@pytest.mark.parametrize("value", [math.inf, "1", [1]])
@pytest.mark.parametrize("name", ["reward_time_limit", "max_grad_norm", "steps"])
def test_settings_made_in_python_are_checked_as_flags_are(name, value):
    with pytest.raises(ValueError, match=rf"{name}: got .*, want (a float|an int) restricted to be >0"):
        RunSettings(**{name: value})


def test_settings_without_a_number():
    assert RunSettings(reward_time_limit=None).reward_time_limit is None
    with pytest.raises(ValueError, match="steps: got None, want an int restricted to be >0"):
        RunSettings(steps=None)
