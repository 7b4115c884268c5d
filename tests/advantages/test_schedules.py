"""Schedules, and how `at` puts their weights in place through any nesting of assigners."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo import AdvantageAssigner, TokenSignals
from iapo.advantages import SGRPO, GroupRelative, InformationAware, KimiLength, LengthShaped, OverlongFiltered
from iapo.advantages.schedules import Cosine, Linear, Schedule, Warmup, weight_at

PROGRESS = st.floats(0, 1)
WEIGHT = st.floats(0, 100)


@given(WEIGHT, WEIGHT, PROGRESS)
def test_closed_forms(start, end, progress):
    linear, cosine = Linear(start, end)(progress), Cosine(start, end)(progress)
    assert linear == pytest.approx(start + (end - start) * progress, abs=1e-9)
    assert cosine == pytest.approx(end + (start - end) * (1 + math.cos(math.pi * progress)) / 2, abs=1e-9)
    assert (Linear(start, end)(0.0), Linear(start, end)(1.0)) == (start, end)
    assert (Cosine(start, end)(0.0), Cosine(start, end)(1.0)) == (start, end)


@given(PROGRESS)
def test_a_cosine_is_exact_to_rounding(progress):
    assert Cosine(1.0, 0.0)(progress) == pytest.approx((1 + math.cos(math.pi * progress)) / 2, abs=1e-15, rel=0)


@given(WEIGHT, st.floats(0.01, 1), PROGRESS)
def test_warmup(peak, until, progress):
    assert Warmup(peak, until)(progress) == pytest.approx(peak if progress >= until else peak * progress / until)
    assert (Warmup(peak, until)(0.0), Warmup(peak, until)(1.0)) == (0.0, peak)


@pytest.mark.parametrize("progress", [-0.1, 1.1, float("nan")])
def test_progress_outside_training(progress):
    with pytest.raises(ValueError, match="progress: got"):
        Linear(1.0, 0.0)(progress)


@pytest.mark.parametrize("until", [0.0, 1.5])
def test_a_warmup_that_never_starts_or_ends(until):
    with pytest.raises(ValueError, match="until: got"):
        Warmup(1.0, until)


def test_a_number_is_its_own_schedule():
    assert weight_at(0.3, 0.9) == 0.3
    assert weight_at(Linear(0.0, 1.0), 0.9) == 0.9


def test_at_reaches_what_is_wrapped():
    inner = InformationAware(alpha=Linear(1.0, 0.0), beta=Cosine(0.0, 0.2))
    nested = OverlongFiltered(SGRPO(LengthShaped(inner, KimiLength()), 5, 0.5), 64)
    now = InformationAware(alpha=0.5, beta=0.1)
    assert nested.at(0.5) == OverlongFiltered(SGRPO(LengthShaped(now, KimiLength()), 5, 0.5), 64)
    assert nested.at(0.5).at(0.9) == nested.at(0.5)
    assert GroupRelative().at(0.2) == GroupRelative()


def test_signals_are_required_as_long_as_they_weigh():
    assigner = InformationAware(alpha=Linear(1.0, 0.0), beta=Warmup(0.5, 0.5))
    assert assigner.requires == {"information", "policy_logprobs"}
    assert assigner.at(0.0).requires == {"information"}
    assert assigner.at(1.0).requires == {"policy_logprobs"}


def test_a_schedule_without_a_moment_is_refused():
    mask = torch.ones(2, 3, dtype=torch.bool)
    signals = TokenSignals(information=torch.randn(2, 3))
    arguments = (torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask, signals)
    with pytest.raises(ValueError, match=r"alpha: got the schedule Linear\(start=1.0, end=0.0\); call at\(progress\)"):
        InformationAware(alpha=Linear(1.0, 0.0))(*arguments)
    found = InformationAware(alpha=Linear(1.0, 0.0)).at(0.75)(*arguments).advantages
    assert torch.equal(found, InformationAware(alpha=0.25)(*arguments).advantages)


def test_own_components_need_not_know():
    class Own(AdvantageAssigner):
        def assign(self, inputs):
            raise NotImplementedError

    class Steps(Schedule):
        def weight(self, progress):
            return 1.0 if progress < 0.5 else 0.1

    own = Own()
    assert own.at(0.5) is own
    assert InformationAware(own, alpha=Steps()).at(0.7) == InformationAware(own, alpha=0.1)
