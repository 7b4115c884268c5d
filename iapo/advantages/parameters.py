"""Checks of constructor arguments. Their messages name the parameter, the value and the valid range."""

from collections.abc import Callable

from iapo.advantages.schedules import Schedule
from iapo.ops.checks import is_finite_number


def check_weights(**weights: float | Schedule) -> None:
    """Raise ``ValueError`` unless every weight is a finite number of at least 0, a schedule's at both of its ends."""
    for name, weight in weights.items():
        check_scheduled(name, weight, "a finite number of at least 0", lambda x: x >= 0)


def check_scheduled(name: str, value: float | Schedule, want: str, fits: Callable[[float], bool]) -> None:
    """Raise ``ValueError`` unless a value is a finite number that fits, a schedule's at both of its ends.

    Args:
        name: of the argument.
        value: what came.
        want: the valid numbers, in words.
        fits: whether a finite number is valid.
    """
    ends = (value(0.0), value(1.0)) if isinstance(value, Schedule) else (value,)
    if not all(is_finite_number(end) and fits(end) for end in ends):
        raise ValueError(f"{name}: got {value!r}, want {want}")
