"""A value and what else it is: ``2\\pi, or about 6.28``, ``1/6 or 0.167``, ``90 minutes (1.5 hours)``."""

import re
from fractions import Fraction

from iapo.rewards.answers.quantity import Quantity
from iapo.rewards.answers.read_quantity import read_compound, read_quantity

_ROUNDED = re.compile(
    r"\s*(?:,|\(|\b(?=or\b))\s*(?:(?:which\s+is|that\s+is|i\.e\.|or)\s*,?\s*)?"
    r"(?:(?:approximately|approx\.?|about|around|roughly)\b\s*(?:equal\s+to\s+)?|≈\s*)(-?[\d.][^()]*)\)?$"
)
"""What an exact value is about, behind it: ``, or about 1.41``."""
_EITHER = re.compile(
    r"([^,(=]*[^,(=\s])(?:\s*,?\s+or\s+|\s*,\s*i\.e\.,?\s+|(?<=[A-Za-z])\s*=\s*|\s+\((?=[^()]*\)$)(?:=|or|i\.e\.,?)?\s*)"
    r"([^()=]*[^()=\s])\s*\)?"
)
"""Perhaps a value and the same in other words: ``1/6, or 0.167``, ``160 minutes (2 hours and 40 minutes)``."""
_JOINED = re.compile(r"\s*,?\s+and\s+|\s*,\s*")
"""Between the units of one amount, where two answers could stand: ``2 hours and 40 minutes``."""
_NUMBER = re.compile(r"\d|\\pi(?![A-Za-z])")


def with_sign(text: str) -> str:
    """The text with ``≈`` between a value and its decimal number, or itself in another unit, where words or brackets
    say so.

    Example:
        >>> with_sign("1/6, or about 0.17"), with_sign("90 minutes (1.5 hours)"), with_sign("3 or 3.5")
        ('1/6 ≈ 0.17', '90 minutes ≈ 1.5 hours', '3 or 3.5')
    """
    found = _ROUNDED.search(text)
    if found is not None and _NUMBER.search(text, 0, found.start()):
        return f"{text[: found.start()]} ≈ {found[1]}"
    either = _EITHER.fullmatch(text)
    if either is None or not _is_rounded(*either.groups()):
        return text
    return " ≈ ".join(_JOINED.sub(" ", side) if read_compound(side) else side for side in either.groups())


def are_near(one: Quantity, two: Quantity) -> bool:
    """Whether the second may be the rounding of the first, up to one digit of its last place or a hundredth."""
    value = _on_the_scale_of(one, two)
    return abs(value - two.value) <= max(abs(value) / 100, 2 * _half_a_digit(two))


def _is_rounded(exact: str, other: str) -> bool:
    """Whether an amount is a value, or its rounding."""
    one, two = (read_quantity(text) or read_compound(text) for text in (exact, other))
    if not isinstance(one, Quantity) or not isinstance(two, Quantity):
        return False
    off = abs(_on_the_scale_of(one, two) - two.value)
    return off == 0 or (off <= _half_a_digit(two) and (two.places > 0 or two.percent))


def _on_the_scale_of(one: Quantity, two: Quantity) -> Fraction:
    """The value in the unit of another, and in percent if only that is."""
    percent = Fraction(100) ** (two.percent - one.percent)
    return (
        one.value * percent * (one.unit.factor / two.unit.factor if one.unit.dimensions == two.unit.dimensions else 1)
    )


def _half_a_digit(decimal: Quantity) -> Fraction:
    return Fraction(1, 2 * 10**decimal.places)
