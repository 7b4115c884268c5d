"""A number with a unit, and when two of them are the same amount."""

from dataclasses import dataclass
from fractions import Fraction

from iapo.rewards.answers.units import NO_UNIT, Unit

_ENOUGH_PLACES = 6
"""Digits behind the point from which a decimal number may stand for one that does not end."""


@dataclass(frozen=True)
class Quantity:
    """A number that may have a unit.

    Args:
        value: exactly what is written; of percent, the number before the sign.
        places: digits behind the point of a decimal number, else 0.
        percent: whether it is given in percent.
        unit: of measure, or what is counted.
        unsigned: whether the words leave the sign open (``a loss of 5``).
        ordinal: how a place in an order is written: in ``digits`` (``3rd``, which may also mean 3) or in ``words``
            (``third``, which does not); empty for other numbers.
        senses: the words that say which way it goes, one of two or of four: ``east``, ``increase``.
    """

    value: Fraction
    places: int = 0
    percent: bool = False
    unit: Unit = NO_UNIT
    unsigned: bool = False
    ordinal: str = ""
    senses: frozenset[str] = frozenset()

    @property
    def formula(self) -> str:
        r"""The value in LaTeX, without its unit; percent as a share.

        Example:
            >>> Quantity(Fraction(-1, 2)).formula, Quantity(Fraction(-1, 2), places=2).formula
            ('\\frac{-1}{2}', '-0.50')
        """
        if self.places and not self.percent:
            digits = f"{abs(self.value.numerator) * 10**self.places // self.value.denominator:0{self.places + 1}}"
            return f"{'-' if self.value < 0 else ''}{digits[: -self.places]}.{digits[-self.places :]}"
        value = self.value / 100 if self.percent else self.value
        return str(value) if value.denominator == 1 else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"

    def equals(self, other: "Quantity") -> bool:
        """Whether both are the same amount.

        A share (``0.5``) equals its percentage (``50%``). A number may also have lost its percent sign, unless it is at
        most 1 and thus rather a share. Units are compared if both have one. A decimal number with six digits or more
        behind the point stands for one that does not end.
        """
        if {self.ordinal, other.ordinal} == {"", "words"} or (
            self.senses and other.senses and self.senses != other.senses
        ):
            return False
        if self.percent != other.percent:
            percentage, share = (self, other) if self.percent else (other, self)
            if share.unit:
                return False
            hundredth = Quantity(percentage.value / 100, percentage.places and percentage.places + 2)
            return _same(share, hundredth) or (abs(share.value) > 1 and _same(share, percentage))
        return self.unit.agrees(other.unit) and _same(self, other)


def _same(first: Quantity, second: Quantity) -> bool:
    one, two = first.value, second.value
    if first.unit.dimensions == second.unit.dimensions:
        one, two = one * first.unit.factor, two * second.unit.factor
    if first.unsigned or second.unsigned:
        one, two = abs(one), abs(two)
    return one == two or _stands_for(first, two) or _stands_for(second, one)


def _stands_for(decimal: Quantity, endless: Fraction) -> bool:
    """Whether a decimal number is the beginning or the rounding of one that does not end."""
    if decimal.places < _ENOUGH_PLACES or _ends(endless):
        return False
    return abs(decimal.value - endless) < Fraction(1, 10**decimal.places)


def _ends(value: Fraction) -> bool:
    bottom = value.denominator
    for prime in (2, 5):
        while bottom % prime == 0:
            bottom //= prime
    return bottom == 1
