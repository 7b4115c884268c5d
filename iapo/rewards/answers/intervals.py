r"""Parts of the number line: intervals, inequalities, all numbers but some."""

import re
from fractions import Fraction
from itertools import pairwise

from iapo.rewards.answers.parts import both_signs, parts_of

VARIABLE = r"(?:[A-Za-z]|[A-Z]{2}|\\[A-Za-z]+)(?:_\{[^{}]*\})?(?:\([^()]*\))?"
"""The pattern of the name of a number: ``x``, ``AB``, ``\\theta``, ``x_{1}``, ``f(x)``."""
_RELATION = re.compile(r"\s*(<|>|\\leq(?![A-Za-z])|\\geq(?![A-Za-z]))\s*")
_LESS, _MORE = ("<", "\\leq"), (">", "\\geq")
_OUTWARD = re.compile(r"([\[\]])([^\[\],;]+[,;][^\[\],;]+)([\[\]])")
"""An interval whose open ends may have their brackets turned outward: ``[0, 1[``."""
_BUILDER = re.compile(
    rf"(?:\\?\{{\s*)?{VARIABLE}\s*(?:\\in\s*\(-\\infty,\s*\\infty\)\s*)?"
    r"(?:\\(?:mid|vert)(?![A-Za-z])|[|:])\s*(?P<rule>(?=.*(?:[<>]|\\(?:[lg]|n)eq)).*?)(?:\\?\})?"
)
"""A set by its rule: ``\\{x \\mid x > 3\\}``, where the real numbers are read as an interval."""
_ABSOLUTE = re.compile(
    rf"\|\s*(?:(?P<from>[\d./]+)\s*-\s*)?{VARIABLE}\s*(?:(?P<sign>[-+])\s*(?P<center>[\d./]+))?\s*\|"
)
_WITHOUT = re.compile(
    rf"(?:{VARIABLE}\s*\\neq\s*|(?:all\s+)?real\s+(?:numbers?|values?|[a-z])\s+(?:of\s+[a-z]\s+)?(?:except|but|other\s+than)\s+(?:for\s+)?(?:{VARIABLE}\s*=\s*)?"
    r"|\(-\\infty,\s*\\infty\)\s*(?:\\setminus|\\backslash|[-\\])?\s*(?=\\?\{))(?:\\?\{(?P<set>[^{}]+?)\\?\}|(?P<list>.+))",
    re.IGNORECASE,
)
"""All real numbers but some."""
_NOT_EQUAL = re.compile(rf"^{VARIABLE}\s*\\neq\s*")
_NUMBER = re.compile(r"(-?)\s*(?:(\d+(?:\.\d+)?)(?:/(\d+))?|\\frac\{(\d+)\}\{(\d+)\})")
_BETWEEN = re.compile(
    rf"(?:{VARIABLE}\s+(?:is|lies|must\s+be)\s+)?(?:strictly\s+)?between\s+(?P<low>-?[\d.]+)\s+and\s+(?P<high>-?[\d.]+)"
    r"(?:\s*,?\s*\(?(?P<how>exclusive|inclusive)\)?)?"
)
_AND = re.compile(r"(?<![\w\\])and(?!\w)|\\(?:text\{)?land(?![A-Za-z])")
_REALS = re.compile(r"(?:all\s+)?real\s+numbers?", re.IGNORECASE)

_Split = tuple[str, list[str]]
"""Brackets and parts, as `iapo.rewards.answers.sequence.split_sequence` has them."""


def rule_of(text: str) -> str:
    r"""The rule alone of a set that is built by one, with the brackets of intervals turned inward; else the text.

    Example:
        >>> rule_of(r"\{x \mid x > 3\}"), rule_of("]0, 1[")
        ('x > 3', '(0, 1)')
    """
    if text.startswith("]") or text.endswith("["):
        text = _OUTWARD.sub(lambda found: f"{'[('[found[1] == ']']}{found[2]}{'])'[found[3] == '[']}", text)
    return text if (built := _BUILDER.fullmatch(text)) is None else built["rule"].strip()


def said_interval(text: str) -> _Split | None:
    r"""What words or signs say of the number line: all of it, all but some numbers, between two; ``None`` if nothing.

    Example:
        >>> said_interval("between 3 and 4"), said_interval(r"x \neq \pm 2")
        (('()', ['3', '4']), ('', ['(-\\infty,-2)', '(-2,2)', '(2,\\infty)']))
    """
    if _REALS.fullmatch(text):
        return "()", ["-\\infty", "\\infty"]
    if (between := _BETWEEN.fullmatch(text)) is not None:
        return "[]" if between["how"] == "inclusive" else "()", [between["low"], between["high"]]
    if (without := _WITHOUT.fullmatch(text)) is None:
        return None
    return _around([_NOT_EQUAL.sub("", hole) for hole in both_signs(parts_of(without["set"] or without["list"]))])


def _around(holes: list[str]) -> _Split | None:
    """The intervals between numbers that are left out; ``None`` if it cannot be told how these lie."""
    if len(holes) > 1:
        if not all(map(_NUMBER.fullmatch, holes)):
            return None
        holes = sorted(holes, key=_value)
    ends = ["-\\infty", *holes, "\\infty"]
    return "", [f"({low},{high})" for low, high in pairwise(ends)]


def _value(text: str) -> Fraction:
    number = _NUMBER.fullmatch(text)
    assert number is not None
    sign, whole, below, top, bottom = number.groups()
    size = Fraction(top or whole) / Fraction(bottom or below or 1)
    return -size if sign else size


def where_both_hold(text: str, parts: list[str]) -> _Split | None:
    """The interval of two bounds of one variable: ``x > 2 and x < 5``.

    In a list (``x > 2, x < 5``) only where they meet.
    """
    sides = [side for part in parts if (side := inequality(part)) is not None and len(side[1]) == 2]
    variables = {
        tuple(re.findall(rf"(?<![\\A-Za-z]){VARIABLE}(?![A-Za-z])", re.sub(r"\\\w+", "", part))) for part in parts
    }
    if len(parts) != 2 or len(sides) != 2 or len(variables) != 1:
        return None
    lower, upper = sorted(sides, key=lambda side: side[1][0] == "-\\infty")
    low, high = lower[1][0], upper[1][1]
    if low == "-\\infty" or high == "\\infty":
        return None
    if not _AND.search(text):
        numbers = [re.fullmatch(r"-?\d+(?:\.\d+)?", bound) for bound in (low, high)]
        if not all(numbers) or float(low) >= float(high) or re.search(r"\bor\b|\\(?:lor|cup)", text):
            return None
    return lower[0][0] + upper[0][1], [low, high]


def inequality(text: str) -> _Split | None:
    r"""The interval, or the two, that an inequality of one variable says; ``None`` if the text is none.

    Example:
        >>> inequality("1 < x \\leq 2"), inequality("|x - 3| < 2")
        (('(]', ['1', '2']), ('()', ['3-(2)', '3+2']))
    """
    pieces = _RELATION.split(text)
    if len(pieces) == 3:
        left, relation, right = pieces
        if (absolute := _ABSOLUTE.fullmatch(left)) is not None and right:
            return _around_center(absolute, relation, right)
        if re.fullmatch(VARIABLE, right):
            left, right, relation = right, left, _turned(relation)
        if not re.fullmatch(VARIABLE, left) or not right:
            return None
        closed = relation.startswith("\\")
        if relation in _LESS:
            return f"({']' if closed else ')'}", ["-\\infty", right]
        return f"{'[' if closed else '('})", [right, "\\infty"]
    if len(pieces) != 5 or not re.fullmatch(VARIABLE, pieces[2]) or not pieces[0] or not pieces[4]:
        return None
    low, first, _, second, high = pieces
    if first in _MORE and second in _MORE:
        low, first, second, high = high, _turned(second), _turned(first), low
    if first not in _LESS or second not in _LESS:
        return None
    return ("[" if first == "\\leq" else "(") + ("]" if second == "\\leq" else ")"), [low, high]


def _around_center(absolute: re.Match[str], relation: str, distance: str) -> _Split | None:
    """What lies within a distance of a center, or beyond it."""
    first, last = ("(", ")") if not relation.startswith("\\") else ("[", "]")
    if absolute["from"] and absolute["center"]:
        return None
    place = absolute["from"] or absolute["center"]
    center = f"{'-' if absolute['sign'] == '+' else ''}{place}" if place else ""
    low, high = f"{center}-({distance})", f"{center}+{distance}" if center else distance
    if relation in _LESS:
        return first + last, [low, high]
    return "", [f"(-\\infty,{low}{last}", f"{first}{high},\\infty)"]


def _turned(relation: str) -> str:
    return {"<": ">", ">": "<", "\\leq": "\\geq", "\\geq": "\\leq"}[relation]
