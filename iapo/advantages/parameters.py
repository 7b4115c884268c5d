"""Checks of constructor arguments. Their messages name the parameter, the value and the valid range."""

from iapo.advantages.schedules import Schedule
from iapo.ops.checks import is_finite_number


def check_weights(**weights: float | Schedule) -> None:
    """Raise ``ValueError`` unless every weight is a finite number of at least 0, a schedule's at both of its ends."""
    for name, weight in weights.items():
        ends = (weight(0.0), weight(1.0)) if isinstance(weight, Schedule) else (weight,)
        if not all(is_finite_number(end) and end >= 0 for end in ends):
            raise ValueError(f"{name}: got {weight!r}, want a finite number of at least 0")
