"""What is no number, or none that fits, is named where it is given."""

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy
import pytest
import torch
from torch import nn

from iapo.advantages.schedules import Cosine, Linear, Warmup
from iapo.estimators import AnswerLikelihood, OARGradient, Refined
from iapo.estimators.boundaries import Boundaries, StepBoundaries
from iapo.ops.checks import check_integers, check_kinds, check_number, is_finite_number
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


@dataclasses.dataclass(frozen=True)
class Part:
    flag: bool = True
    file: str | Path = "a.py"
    names: tuple[str, ...] = ()
    hooks: tuple[Callable[[int], int], ...] = ()
    boundaries: Boundaries | None = None
    model: nn.Module | None = None

    def __post_init__(self):
        check_kinds(self)


@pytest.mark.parametrize(
    "fields",
    [
        {"flag": numpy.True_},
        {"file": Path("a.py")},
        {"file": numpy.str_("a.py")},
        {"names": ["a", "b"]},
        {"hooks": (functools.partial(max, 1), int, len)},
        {"boundaries": Mock(spec=Boundaries)},
        {"model": Mock()},
    ],
)
def test_kinds_of_fields_that_fit(fields):
    Part(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flag": 1}, "flag: got 1, want True or False"),
        ({"flag": numpy.array([True])}, r"flag: got array\(\[ True\]\), want True or False"),
        ({"file": 3}, "file: got 3, want a text or a path"),
        ({"names": "a"}, "names: got 'a', want a tuple, each a text"),
        ({"hooks": (3,)}, r"hooks: got \(3,\), want a tuple, each a function"),
        ({"boundaries": Boundaries}, "boundaries: got the class Boundaries, want an object of Boundaries or None"),
    ],
)
def test_kinds_of_fields_that_do_not_fit_are_named(fields, message):
    with pytest.raises(TypeError, match=f"^{message}$"):
        Part(**fields)


@dataclasses.dataclass(frozen=True)
class Extended(Part):
    more: bool = True

    def __post_init__(self):
        check_kinds(self, Part)


def test_kinds_of_fields_that_a_base_declares():
    assert Extended(more=1).more == 1
    with pytest.raises(TypeError, match="flag: got 1, want True or False"):
        Extended(flag=1)


def test_settings_without_a_number():
    assert RunSettings(reward_time_limit=None).reward_time_limit is None
    with pytest.raises(ValueError, match="steps: got None, want an int restricted to be >0"):
        RunSettings(steps=None)


def test_a_field_is_what_its_class_annotates_whatever_a_parser_made_of_it():
    """transformers' parser of the command line makes ``str | None`` a ``str``, in the class itself."""

    @dataclasses.dataclass
    class Words:
        words: str | None = None

    @dataclasses.dataclass
    class More(Words):
        number: int = 0

    dataclasses.fields(Words)[0].type = str
    check_kinds(More())
    check_kinds(More(), Words)
    with pytest.raises(TypeError, match="words: got 3, want a text or None"):
        check_kinds(More(3))
