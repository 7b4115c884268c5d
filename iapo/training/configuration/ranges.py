"""The ranges of numbers that flags take, checked also where settings are made in Python."""

import math
from dataclasses import fields
from typing import Any

from jsonargparse.typing import PositiveInt, restricted_number_type

GroupSize = restricted_number_type("GroupSize", int, (">=", 2), docstring="int restricted to be ≥2")
"""A completion needs at least one other to be compared with."""

PositiveFiniteFloat = restricted_number_type(
    "PositiveFiniteFloat", float, [(">", 0), ("<", math.inf)], docstring="float restricted to be >0 and finite"
)
"""A time limit, or a limit of a norm. Where there is to be none, that is ``None``."""

FiniteFloat = restricted_number_type(
    "FiniteFloat", float, [(">", -math.inf), ("<", math.inf)], docstring="float restricted to be finite"
)
"""A score that others are compared with."""

Seed = restricted_number_type(
    "Seed", int, [(">=", -(2**63)), ("<", 2**63)], docstring="int restricted to be ≥-2^63 and <2^63"
)
"""What torch's generators take."""


def check_ranges(record: object) -> None:
    """Raise ``ValueError`` if a number of a dataclass is outside of the range that its field's type stands for.

    The command line checks flags by the same types; this is for records that are made in Python.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Settings:
        ...     steps: PositiveInt
        >>> check_ranges(Settings(steps=0))
        Traceback (most recent call last):
        ...
        ValueError: steps: got 0, want an int restricted to be >0
    """
    for each in fields(record):  # type: ignore[arg-type]
        value = getattr(record, each.name)
        kinds: tuple[Any, ...] = getattr(each.type, "__args__", (each.type,))
        for kind in kinds:
            if getattr(kind, "__module__", "") != PositiveInt.__module__ or (value is None and type(None) in kinds):
                continue
            try:
                if isinstance(value, str):  # which these types would read as a number
                    raise TypeError
                kind(value)
            except (TypeError, ValueError) as error:
                want = f"{'an' if kind.__doc__.startswith('int') else 'a'} {kind.__doc__}"
                raise ValueError(f"{each.name}: got {value!r}, want {want}") from error
