"""Weights that change while training goes on.

A schedule maps progress, the share of the updates already done, to a weight. Where a component takes
``float | Schedule``, its method ``at(progress)`` returns the component with numbers for schedules
(`iapo.AdvantageAssigner.at`).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from iapo.ops.checks import check_number
from iapo.ops.hooks import Hooked


class Schedule(Hooked, ABC):
    """A weight as a function of progress."""

    def __call__(self, progress: float) -> float:
        """The weight at a moment of training.

        Args:
            progress: share of the updates already done: 0 for the first update, 1 after the last.

        Raises:
            ValueError: ``progress`` outside [0, 1].
        """
        if not 0 <= progress <= 1:
            raise ValueError(f"progress: got {progress}, want a number from 0 to 1")
        return self.weight(progress)

    @abstractmethod
    def weight(self, progress: float) -> float:
        """Hook: the weight at ``progress``. It must be monotone, so that the weights at 0 and 1 bound all others."""


@dataclass(frozen=True)
class Linear(Schedule):
    """``(1 - progress) * start + progress * end``.

    Args:
        start: weight of the first update.
        end: weight after the last.

    Raises:
        ValueError: a weight that is no finite number.

    Example:
        >>> Linear(start=1.0, end=0.0)(0.25)
        0.75
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        _check_ends(self.start, self.end)

    def weight(self, progress: float) -> float:
        """The weight at ``progress``."""
        return (1 - progress) * self.start + progress * self.end


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine, slow at both ends: ``w * start + (1 - w) * end`` with ``w = (1 + cos(pi * progress)) / 2``.

    Args:
        start: weight of the first update.
        end: weight after the last.

    Raises:
        ValueError: a weight that is no finite number.

    Example:
        >>> Cosine(start=1.0, end=0.0)(0.5)
        0.5
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        _check_ends(self.start, self.end)

    def weight(self, progress: float) -> float:
        """The weight at ``progress``."""
        left = round((1 + math.cos(math.pi * progress)) / 2, 15)  # cos(pi / 2) is 6e-17
        return left * self.start + (1 - left) * self.end


@dataclass(frozen=True)
class Warmup(Schedule):
    """``peak * min(1, progress / until)``: rises from 0, then stays constant.

    Args:
        peak: the weight from ``until`` on.
        until: share of the updates over which it rises, above 0.

    Raises:
        ValueError: a ``peak`` that is no finite number, ``until`` outside (0, 1].

    Example:
        >>> warmup = Warmup(peak=2.0, until=0.5)
        >>> warmup(0.25), warmup(0.75)
        (1.0, 2.0)
    """

    peak: float
    until: float

    def __post_init__(self) -> None:
        check_number("peak", self.peak)
        check_number("until", self.until, "a number above 0, at most 1", lambda x: 0 < x <= 1)

    def weight(self, progress: float) -> float:
        """The weight at ``progress``."""
        return self.peak * min(1.0, progress / self.until)


def _check_ends(start: float, end: float) -> None:
    check_number("start", start)
    check_number("end", end)


def weight_at(weight: float | Schedule, progress: float) -> float:
    """The weight at a moment of training: a schedule's, or the number itself."""
    return weight(progress) if isinstance(weight, Schedule) else weight


def resolved_weight(name: str, weight: float | Schedule) -> float:
    """The weight as a number.

    Args:
        name: of the argument, for the message.
        weight: a number; a schedule has none before ``at(progress)`` was called.

    Raises:
        ValueError: a schedule.
    """
    if isinstance(weight, Schedule):
        raise ValueError(f"{name}: got the schedule {weight}; call at(progress) first, which replaces it by its number")
    return weight
