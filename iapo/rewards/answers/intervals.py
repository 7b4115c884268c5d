"""Parts of the number line: intervals and inequalities."""

import re

from iapo.rewards.answers.difference import VARIABLE, Split, difference, left_out, without

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
_BETWEEN = re.compile(
    rf"(?:{VARIABLE}\s+(?:is|lies|must\s+be)\s+)?(?:strictly\s+)?between\s+(?P<low>-?[\d.]+)\s+and\s+(?P<high>-?[\d.]+)"
    r"(?:\s*,?\s*\(?(?P<how>exclusive|inclusive)\)?)?"
)
_AND = re.compile(r"(?<![\w\\])and(?!\w)|\\(?:text\{)?land(?![A-Za-z])")
_OR = re.compile(r"\bor\b|\\(?:lor|cup)(?![A-Za-z])")
_REALS = re.compile(
    r"(?:(?:all|any|every|the|set\s+of)\s+)*(?:(?P<part>positive|negative|non-?\s?(?:negative|positive|zero))\s+)?(?:real(?:s|\s+numbers?)|(?<=e\s)numbers)",
    re.IGNORECASE,
)
_HALVES = {
    "positive": ("()", ["0", "\\infty"]),
    "negative": ("()", ["-\\infty", "0"]),
    "nonnegative": ("[)", ["0", "\\infty"]),
    "nonpositive": ("(]", ["-\\infty", "0"]),
    "nonzero": ("", ["(-\\infty,0)", "(0,\\infty)"]),
}
"""Of the real numbers by their sign."""


def rule_of(text: str) -> str:
    r"""The rule alone of a set that is built by one, with the brackets of intervals turned inward; else the text.

    Example:
        >>> rule_of(r"\{x \mid x > 3\}"), rule_of("]0, 1[")
        ('x > 3', '(0, 1)')
    """
    if text.startswith("]") or text.endswith("["):
        text = _OUTWARD.sub(lambda found: f"{'[('[found[1] == ']']}{found[2]}{'])'[found[3] == '[']}", text)
    return text if (built := _BUILDER.fullmatch(text)) is None else built["rule"].strip()


def said_interval(text: str) -> Split | None:
    r"""What words or signs say of the number line: all of it, all but some numbers, between two; ``None`` if nothing.

    Example:
        >>> said_interval("between 3 and 4"), said_interval(r"x \neq \pm 2")
        (('()', ['3', '4']), ('', ['(-\\infty,-2)', '(-2,2)', '(2,\\infty)']))
    """
    if (reals := _REALS.fullmatch(text)) is not None:
        part = re.sub(r"\W", "", (reals["part"] or "").lower())
        return _HALVES.get(part, ("()", ["-\\infty", "\\infty"]))
    if (between := _BETWEEN.fullmatch(text)) is not None:
        return "[]" if between["how"] == "inclusive" else "()", [between["low"], between["high"]]
    return difference(text)


def where_both_hold(text: str, parts: list[str]) -> Split | None:
    r"""The interval of two bounds of one variable: ``x > 2 and x < 5``; the intervals of one but some numbers.

    Two bounds in a list (``x > 2, x < 5``) only where they meet.

    Example:
        >>> where_both_hold("", ["x > 0", r"x \neq 1"])
        ('', ['(0,1)', '(1,\\infty)'])
    """
    sides = [side for part in parts if (side := inequality(part)) is not None and len(side[1]) == 2]
    holes = [hole for part in parts if (hole := left_out(part)) is not None]
    variables = {
        tuple(re.findall(rf"(?<![\\A-Za-z]){VARIABLE}(?![A-Za-z])", re.sub(r"\\\w+", "", part))) for part in parts
    }
    is_either = _OR.search(text) is not None
    if len(variables) == 1 == len(sides) and holes and len(parts) == 1 + len(holes) and not is_either:
        brackets, (low, high) = sides[0]
        return without(f"{brackets[0]}{low},{high}{brackets[1]}", holes)
    if len(parts) != 2 or len(sides) != 2 or len(variables) != 1:
        return None
    lower, upper = sorted(sides, key=lambda side: side[1][0] == "-\\infty")
    low, high = lower[1][0], upper[1][1]
    if low == "-\\infty" or high == "\\infty":
        return None
    if not _AND.search(text):
        numbers = [re.fullmatch(r"-?\d+(?:\.\d+)?", bound) for bound in (low, high)]
        if not all(numbers) or float(low) >= float(high) or is_either:
            return None
    return lower[0][0] + upper[0][1], [low, high]


def inequality(text: str) -> Split | None:
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


def _around_center(absolute: re.Match[str], relation: str, distance: str) -> Split | None:
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
