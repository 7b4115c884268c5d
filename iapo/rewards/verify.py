"""The comparison of formulas in the worker process. Imports nothing of the package; see `iapo.rewards.serve`."""

from typing import Any

from math_verify import LatexExtractionConfig, parse
from math_verify import verify as equal
from sympy import Abs, I

_CLOSE = 1e-6
"""Relative difference of two numbers that count as equal, where one of them is written as a decimal number."""


def verify(item: list[Any]) -> bool | None:
    """Whether two formulas are equal as mathematics.

    Args:
        item: the formula of the reference in LaTeX; that of the answer, or ``None`` to ask only whether the first can
            be read; and whether the answer is a text in which a formula must be found.

    Returns:
        ``None`` if the reference cannot be read.
    """
    wanted, given, is_text = item
    gold = _formula(wanted)
    if not gold:
        return None
    if given is None:
        return True
    # No limits inside: math-verify's own rely on signals, which long C calls ignore. This process is killed instead.
    answer = parse(given, parsing_timeout=None) if is_text else _formula(given)
    return bool(answer) and equal(gold, answer, timeout_seconds=None) and _of_one_size(gold[0], answer[0])


def _formula(text: str) -> list[Any]:
    parsed = parse(
        f"${text}$",
        extraction_config=[LatexExtractionConfig()],
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
    if gold == answer:
        return True
    difference, one, two = (Abs(value).evalf(20) for value in (gold - answer, gold, answer))
    return bool(difference <= _CLOSE * max(one, two))


# Loads what the first comparison would load, and stops the worker's start if math-verify is not as it was.
if verify(["1/2", "0.5", False]) is not True or verify(["1/2", "so it is 3", True]) is not False:
    raise RuntimeError("math-verify does not compare 1/2 with 0.5 and 3 as expected; versions 0.9 and up do")
