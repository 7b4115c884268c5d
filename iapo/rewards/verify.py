"""The comparison of formulas in the worker process. Imports nothing of the package; see `iapo.rewards.serve`."""

import math
import random
import re
from dataclasses import replace
from typing import Any

from math_verify import LatexExtractionConfig, parse
from math_verify import verify as equal
from sympy import Abs, Expr, Float, I, Integral, Limit, Product, Sum

_CLOSE = 1e-6
"""Relative difference of two numbers that count as equal, where one of them is written as a decimal number."""
_ROUNDING = 1e-12
"""Relative difference of two numbers that decimal ones among their parts may make."""
_SAME = 1e-9
"""Relative difference of two values that count as one function's at one point."""
_SIZES = (0.3, 1.0, 6.0, 40.0, 900.0)
"""Of the numbers that letters stand for where functions are compared at points."""
_POINTS, _MET = 40, 8
"""Points that are tried, and the fewest at which both functions must have a real value."""
_LETTER = re.compile(r"\\(?:begin|end)\{\w+\}|\\[A-Za-z]+|[A-Za-z]")
_OTHER_LETTERS = "quvwpstnmkabcrxylo"
"""Those that mean nothing but a number."""
_WITHOUT_UNITS = replace(LatexExtractionConfig().normalization_config, units=False)
"""Units are taken apart before (`iapo.rewards.answers.units`); math-verify would take the letter g for grams."""


def verify(item: list[Any]) -> bool | None:
    """Whether two formulas are equal as mathematics.

    Args:
        item: the formula of the reference in LaTeX; that of the answer, or ``None`` to ask only whether the first can
            be read; and whether the answer is a text in which a formula must be found.

    Returns:
        ``None`` if the reference cannot be read.
    """
    wanted, given, is_text = item
    if given is not None and not is_text:
        wanted, given = _told_apart(wanted, given)
    gold = _formula(wanted)
    if not gold:
        return None
    if given is None:
        return True
    # No limits inside: math-verify's own rely on signals, which long C calls ignore. This process is killed instead.
    answer = parse(given, parsing_timeout=None) if is_text else _formula(given)
    if not answer:
        return False
    if equal(gold, answer, timeout_seconds=None):
        return _of_one_size(gold[0], answer[0])
    return _equal_at_points(gold[0], answer[0])


def _told_apart(*formulas: str) -> list[str]:
    """Formulas with another letter for a capital one that one of them has beside the small one: ``R^2 - r^2``.

    math-verify takes both for the same.
    """
    letters = [set(_LETTER.findall(formula)) for formula in formulas]
    known = set().union(*letters)
    both = sorted({letter.upper() for each in letters for letter in each if letter != letter.upper() in each})
    free = [letter for letter in _OTHER_LETTERS if not known & {letter, letter.upper()}]
    names = dict(zip(both, free, strict=False))
    return [_LETTER.sub(lambda letter: names.get(letter[0], letter[0]), formula) for formula in formulas]


def _formula(text: str) -> list[Any]:
    parsed = parse(
        f"${text}$",
        extraction_config=[LatexExtractionConfig(normalization_config=_WITHOUT_UNITS)],
        fallback_mode="no_fallback",
        parsing_timeout=None,
    )
    return [_with_imaginary_unit(each) for each in parsed]


def _with_imaginary_unit(value: Any) -> Any:
    """The value with the imaginary unit for ``i``: what is equal for any ``i`` is equal for this one."""
    letters = [symbol for symbol in getattr(value, "free_symbols", ()) if str(symbol) == "i"]
    return value.subs(dict.fromkeys(letters, I)).doit() if letters else value


def _of_one_size(gold: Any, answer: Any) -> bool:
    """Whether two numbers are close in proportion: math-verify rounds to digits behind the point, tiny ones to 0."""
    if not all(getattr(value, "is_number", False) for value in (gold, answer)):
        return True
    if gold == 0 or answer == 0:
        return (gold - answer).equals(0) is True
    return gold == answer or _are_close(gold, answer, _CLOSE)


def _are_close(gold: Any, answer: Any, tolerance: float) -> bool:
    # Numbers first: of a complex one the absolute value would have an imaginary part of rounding.
    difference, one, two = (Abs(value.evalf(20)).evalf(20) for value in (gold - answer, gold, answer))
    return bool(difference <= tolerance * max(one, two))


def _equal_at_points(gold: Any, answer: Any) -> bool:
    """Whether two functions of the same letters have the same real values wherever one of them has any.

    Two numbers have the same value up to rounding.

    For what simplification does not find: ``-\\ln|\\cos x|`` is ``\\ln|\\sec x|``.
    """
    if not all(isinstance(value, Expr) and not value.has(Sum, Product, Integral, Limit) for value in (gold, answer)):
        return False
    letters = sorted(gold.free_symbols, key=str)
    if gold.free_symbols != answer.free_symbols:
        return False
    if not letters:
        return (gold - answer).has(Float) and _are_close(gold, answer, _ROUNDING)
    numbers, met = random.Random(0), 0
    for _ in range(_POINTS):
        point = {
            letter: numbers.choice((-1, 1)) * numbers.choice(_SIZES) * (0.5 + numbers.random()) for letter in letters
        }
        one, two = (_real_value(value, point) for value in (gold, answer))
        if (one is None) != (two is None):
            return False
        if one is None or two is None:
            continue
        if abs(one - two) > _SAME * max(abs(one), abs(two)):
            return False
        met += 1
    return met >= _MET


def _real_value(value: Any, point: dict[Any, float]) -> float | None:
    """The value at a point; ``None`` if it is not real, or too large."""
    try:
        found = complex(value.subs(point).evalf(20))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    return found.real if math.isfinite(found.real) and abs(found.imag) <= _SAME * abs(found.real) else None


# Loads what the first comparison would load, and stops the worker's start if math-verify is not as it was.
if verify(["1/2", "0.5", False]) is not True or verify(["1/2", "so it is 3", True]) is not False:
    raise RuntimeError("math-verify does not compare 1/2 with 0.5 and 3 as expected; versions 0.9 and up do")
