"""A value and the decimal number that it is about: ``2\\pi, or about 6.28``, ``1/6 or 0.167``."""

import re
from fractions import Fraction

from iapo.rewards.answers.quantity import Quantity
from iapo.rewards.answers.read_quantity import read_quantity

_ROUNDED = re.compile(
    r"\s*(?:,|\(|\b(?=or\b))\s*(?:(?:which\s+is|that\s+is|i\.e\.|or)\s*,?\s*)?"
    r"(?:(?:approximately|approx\.?|about|around|roughly)\b\s*(?:equal\s+to\s+)?|≈\s*)(-?[\d.][^()]*)\)?$"
)
"""What an exact value is about, behind it: ``, or about 1.41``."""
_EITHER = re.compile(r"([^,]*[^,\s])\s*,?\s+or\s+(-?\d*\.?\d+(?:\s*%)?)")
"""Perhaps a value and its decimal number: ``1/6, or 0.167``."""
_NUMBER = re.compile(r"\d|\\pi(?![A-Za-z])")


def with_sign(text: str) -> str:
    """The text with ``≈`` between a value and its decimal number, where words or brackets say so.

    Example:
        >>> with_sign("1/6, or about 0.17"), with_sign("1/6 or 16.7%"), with_sign("3 or 3.5")
        ('1/6 ≈ 0.17', '1/6 ≈ 16.7%', '3 or 3.5')
    """
    found = _ROUNDED.search(text)
    if found is not None and _NUMBER.search(text, 0, found.start()):
        return f"{text[: found.start()]} ≈ {found[1]}"
    either = _EITHER.fullmatch(text)
    return f"{either[1]} ≈ {either[2]}" if either is not None and _is_rounded(*either.groups()) else text


def are_near(one: Quantity, two: Quantity) -> bool:
    """Whether the second may be the rounding of the first, up to one digit of its last place or a hundredth."""
    value = _on_the_scale_of(one, two)
    return abs(value - two.value) <= max(abs(value) / 100, 2 * _half_a_digit(two))


def _is_rounded(exact: str, decimal: str) -> bool:
    """Whether a decimal number is a value, or its rounding."""
    one, two = read_quantity(exact), read_quantity(decimal)
    if not isinstance(one, Quantity) or not isinstance(two, Quantity):
        return False
    off = abs(_on_the_scale_of(one, two) - two.value)
    return off == 0 or (off <= _half_a_digit(two) and (two.places > 0 or two.percent))


def _on_the_scale_of(one: Quantity, two: Quantity) -> Fraction:
    """The value in the unit of another, or in percent if that is."""
    percent = 100 if two.percent and not one.percent else 1
    return (
        one.value * percent * (one.unit.factor / two.unit.factor if one.unit.dimensions == two.unit.dimensions else 1)
    )


def _half_a_digit(decimal: Quantity) -> Fraction:
    return Fraction(1, 2 * 10**decimal.places)
