r"""Parts of the number line without some of its numbers: ``x \neq 2``, ``(0, 4) \setminus \{2\}``."""

import math
import re
from fractions import Fraction

from iapo.rewards.answers.parts import both_signs, parts_of

VARIABLE = r"(?:[A-Za-z]|[A-Z]{2}|\\[A-Za-z]+)(?:_\{[^{}]*\})?(?:\([^()]*\))?"
"""The pattern of the name of a number: ``x``, ``AB``, ``\\theta``, ``x_{1}``, ``f(x)``."""
_LINE = "(-\\infty,\\infty)"
_INTERVAL = r"[\[(][^\[\](){},]*,[^\[\](){},]*[\])]"
_DIFFERENCE = re.compile(
    rf"(?P<whole>{_INTERVAL})\s*(?:(?:\\setminus|\\backslash|[-\\])?\s*\\?\{{(?P<points>[^{{}}]+?)\\?\}}"
    rf"|(?:\\setminus|\\backslash|\\)\s*(?P<part>{_INTERVAL})"
    rf"|\s*(?:,|\band\b|,\s*and\b)\s*{VARIABLE}\s*\\neq\s*(?P<others>.+))"
)
_ALL_BUT = re.compile(
    rf"(?:{VARIABLE}\s*\\neq\s*|(?:all\s+)?real\s+(?:numbers?|values?|[a-z])\s+(?:of\s+[a-z]\s+)?(?:except|but|other\s+than)"
    rf"\s+(?:for\s+)?(?:{VARIABLE}\s*=\s*)?)(?:\\?\{{(?P<set>[^{{}}]+?)\\?\}}|(?P<list>.+))",
    re.IGNORECASE,
)
_NOT_EQUAL = re.compile(rf"{VARIABLE}\s*\\neq\s*")
_NUMBER = re.compile(r"(-?)\s*(?:(\d+(?:\.\d+)?)(?:/(\d+))?|\\frac\{(\d+)\}\{(\d+)\})")
_INFINITE = {"-\\infty": -math.inf, "\\infty": math.inf}

Split = tuple[str, list[str]]
"""Brackets and parts, as `iapo.rewards.answers.sequence.split_sequence` has them."""


def difference(text: str) -> Split | None:
    r"""The intervals that are left of one, or of all real numbers; ``None`` if the text is none.

    Example:
        >>> difference(r"x \neq \pm 2"), difference(r"[0,4) \setminus \{2\}")
        (('', ['(-\\infty,-2)', '(-2,2)', '(2,\\infty)']), ('', ['[0,2)', '(2,4)']))
        >>> difference(r"(-\infty,\infty) \setminus [1,\infty)")
        ('()', ['-\\infty', '1'])
    """
    if (found := _DIFFERENCE.fullmatch(text)) is not None:
        if found["part"] is None:
            holes = parts_of(found["points"] or found["others"])
            return without(found["whole"], [_NOT_EQUAL.sub("", hole) for hole in holes])
        left = _cut(found["whole"], found["part"])
        return None if left is None else _split(left)
    if (found := _ALL_BUT.fullmatch(text)) is None:
        return None
    return without(_LINE, [_NOT_EQUAL.sub("", hole) for hole in parts_of(found["set"] or found["list"])])


def left_out(text: str) -> str | None:
    r"""The number of ``x \neq 2``; ``None`` if the text is none of these."""
    found = _NOT_EQUAL.match(text)
    return None if found is None else text[found.end() :]


def without(interval: str, numbers: list[str]) -> Split | None:
    r"""The intervals that are left of one without some numbers; ``None`` if it cannot be told where these lie.

    Args:
        interval: as it is written.
        numbers: those that are left out; one with a double sign is two.
    """
    holes = both_signs(numbers)
    if interval == _LINE and len(holes) == 1:
        return "", [f"(-\\infty,{holes[0]})", f"({holes[0]},\\infty)"]
    left = [interval]
    for hole in holes:
        pieces = [_cut(piece, f"[{hole},{hole}]") for piece in left]
        if None in pieces:
            return None
        left = [rest for piece in pieces for rest in piece or []]
    return _split(left)


def _split(left: list[str]) -> Split | None:
    if len(left) != 1:
        return ("", left) if left else None
    return left[0][0] + left[0][-1], left[0][1:-1].split(",")


def _cut(whole: str, part: str) -> list[str] | None:
    """What is left of an interval without another; ``None`` if it cannot be told where they lie, or a number is."""
    (low, high), (begin, end) = (each[1:-1].split(",") for each in (whole, part))
    places = [_place(bound) for bound in (low, high, begin, end)]
    if None in places:
        return None
    at_low, at_high, at_begin, at_end = (place for place in places if place is not None)
    if at_end < at_low or (at_end == at_low and (part[-1] == ")" or whole[0] == "(")):
        return [whole]
    if at_begin > at_high or (at_begin == at_high and (part[0] == "(" or whole[-1] == ")")):
        return [whole]
    if (at_begin == at_low and whole[0] + part[0] == "[(") or (at_end == at_high and part[-1] + whole[-1] == ")]"):
        return None
    left = [f"{whole[0]}{low},{begin}{')' if part[0] == '[' else ']'}"] if at_begin > at_low else []
    return left + ([f"{'(' if part[-1] == ']' else '['}{end},{high}{whole[-1]}"] if at_end < at_high else [])


def _place(bound: str) -> Fraction | float | None:
    """Where a bound lies; ``None`` if that is not written as a number."""
    if bound.strip() in _INFINITE:
        return _INFINITE[bound.strip()]
    if (number := _NUMBER.fullmatch(bound.strip())) is None:
        return None
    sign, whole, below, top, bottom = number.groups()
    below = below or bottom or "1"
    if not Fraction(below):
        return None
    size = Fraction(top or whole) / Fraction(below)
    return -size if sign else size
