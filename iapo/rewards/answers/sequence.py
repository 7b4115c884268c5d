r"""Answers of several parts: lists, sets, tuples, intervals, unions and inequalities, taken apart."""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

_OPEN, _CLOSED = "([{", ")]}"
_SEPARATOR = re.compile(
    r"[,;](?:\s*(?:and|or)\b)?|(?<![\w\\])(?:and|or)(?![\w])|\\(?:text\{)?(?:land|lor)(?![A-Za-z])|\\cup(?![A-Za-z])"
)
_TIGHT = re.compile(r"\d,\d{3}(?!\d)")
_GROUPED_NUMBER = re.compile(r"[^\d]*\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,]).*")
_TWO_TRIPLES = re.compile(r"[1-9]\d\d,(?!000)[1-9]\d\d")
_OUTWARD = re.compile(r"([\[\]])([^\[\],;]+[,;][^\[\],;]+)([\[\]])")
"""An interval whose open ends may have their brackets turned outward: ``[0, 1[``."""
_TRANSPOSED = re.compile(r"([(\[][^()\[\]]+[)\]])\s*\^\{\s*(?:T|\\top|\\intercal)\s*\}")
_COMPONENT = re.compile(r"\s*([-+]?)\s*((?:[\d\s.*/()]|\\(?:frac|sqrt)(?![A-Za-z])|[{}])*)([ijk])(?![A-Za-z])")
"""A part of a vector: the ``-3j`` of ``2i - 3j + k``."""
_ROW = re.compile(r"-?[\d./]+(?:\s+-?[\d./]+)+")
_LESS, _MORE = ("<", "\\leq"), (">", "\\geq")
_VARIABLE = r"(?:[A-Za-z]|[A-Z]{2}|\\[A-Za-z]+)(?:_\{[^{}]*\})?(?:\([^()]*\))?"
_RELATION = re.compile(r"\s*(<|>|\\leq(?![A-Za-z])|\\geq(?![A-Za-z]))\s*")
_MEMBER = re.compile(rf"(?:{_VARIABLE}|\([a-z](?:,\s*[a-z])+\))\s*\\in\s*(?=[\[(\\{{])")
_BUILDER = re.compile(
    rf"(?:\\?\{{\s*)?{_VARIABLE}\s*(?:\\in\s*\(-\\infty,\s*\\infty\)\s*)?"
    r"(?:\\(?:mid|vert)(?![A-Za-z])|[|:])\s*(?P<rule>(?=.*(?:[<>]|\\(?:[lg]|n)eq)).*?)(?:\\?\})?"
)
"""A set by its rule: ``\\{x \\mid x > 3\\}``, where the real numbers are read as an interval."""
_ABSOLUTE = re.compile(
    rf"\|\s*(?:(?P<from>[\d./]+)\s*-\s*)?{_VARIABLE}\s*(?:(?P<sign>[-+])\s*(?P<center>[\d./]+))?\s*\|"
)
_WITHOUT = re.compile(
    rf"(?:{_VARIABLE}\s*\\neq\s*|(?:all\s+)?real\s+(?:numbers?|values?|[a-z])\s+(?:of\s+[a-z]\s+)?(?:except|but|other\s+than)\s+(?:for\s+)?(?:{_VARIABLE}\s*=\s*)?"
    r"|\(-\\infty,\s*\\infty\)\s*(?:\\setminus|\\backslash|[-\\])?\s*(?=\\?\{))(?:\\?\{(?P<set>[^{}]+?)\\?\}|(?P<list>.+))",
    re.IGNORECASE,
)
"""All real numbers but some."""
_NOT_EQUAL = re.compile(rf"^{_VARIABLE}\s*\\neq\s*")
_NUMBER = re.compile(r"(-?)\s*(?:(\d+(?:\.\d+)?)(?:/(\d+))?|\\frac\{(\d+)\}\{(\d+)\})")
_BETWEEN = re.compile(
    rf"(?:{_VARIABLE}\s+(?:is|lies|must\s+be)\s+)?(?:strictly\s+)?between\s+(?P<low>-?[\d.]+)\s+and\s+(?P<high>-?[\d.]+)"
    r"(?:\s*,?\s*\(?(?P<how>exclusive|inclusive)\)?)?"
)
_REMAINDER = re.compile(
    r"(\d+)(?:R|\s+[Rr]\.?|\s*,?\s+rem\.?|\s*,?\s+(?:with\s+)?(?:a\s+)?remainder(?:\s+(?:of|is))?)\s*(\d+)"
)
_AND = re.compile(r"(?<![\w\\])and(?!\w)|\\(?:text\{)?land(?![A-Za-z])")
_MOST_ITEMS = 200


@dataclass(frozen=True)
class Sequence:
    """Several answers in one.

    Args:
        brackets: around them: ``()``, ``[]``, ``[)``, ``(]`` keep the order, ``{}`` and none do not. A row of numbers
            without any separator has a space here, and keeps its order.
        items: the answers.
        names: what each item is called, if each has another name: ``x = 1, y = 2``, ``mean 5, median 4``.
    """

    brackets: str
    items: tuple[Any, ...]
    names: tuple[str, ...] = field(default=(), compare=False)

    @property
    def ordered(self) -> bool:
        """Whether the order of the items counts."""
        return self.brackets not in ("", "{}")


def is_pair_or_thousands(text: str) -> bool:
    """Whether a text is two numbers of three digits or one of six: ``100,200``, but not ``1,072`` and ``100,000``."""
    return _TWO_TRIPLES.fullmatch(text) is not None


def split_sequence(text: str) -> tuple[str, list[str]] | None:
    r"""The brackets and the parts of an answer of several parts; ``None`` if it has one part alone.

    Args:
        text: in the notation of `iapo.rewards.answers.notation.plain`.

    Example:
        >>> split_sequence("[1, 2)"), split_sequence("1 < x \\leq 2"), split_sequence("3, 5, and 7")
        (('[)', ['1', '2']), ('(]', ['1', '2']), ('', ['3', '5', '7']))
        >>> split_sequence(r"1 \pm \sqrt{2}"), split_sequence("(0,9) \\cup (9,36)"), split_sequence("x > 3")
        (('', ['1 + \\sqrt{2}', '1 - \\sqrt{2}']), ('', ['(0,9)', '(9,36)']), ('()', ['3', '\\infty']))
    """
    text = _MEMBER.sub("", text, count=1) if _MEMBER.match(text) else text
    if text.startswith("]") or text.endswith("["):
        text = _OUTWARD.sub(lambda found: f"{'[('[found[1] == ']']}{found[2]}{'])'[found[3] == '[']}", text)
    if (built := _BUILDER.fullmatch(text)) is not None:
        text = built["rule"].strip()
    if re.fullmatch(
        r"\\emptyset|\\?\{\s*\\?\}|\[\s*\]|(?:an\s+|the\s+)?empty\s+(?:list|array)|(?:the\s+)?(?:empty|null)\s+set",
        text,
        re.IGNORECASE,
    ):
        return "{}", []
    if re.fullmatch(r"(?:all\s+)?real\s+numbers?", text, re.IGNORECASE):
        return "()", ["-\\infty", "\\infty"]
    if (divided := _REMAINDER.fullmatch(text)) is not None:
        return "()", [divided[1], divided[2]]
    if (without := _WITHOUT.fullmatch(text)) is not None:
        return _around([_NOT_EQUAL.sub("", hole) for hole in _both_signs(_parts(without["set"] or without["list"]))])
    if (between := _BETWEEN.fullmatch(text)) is not None:
        return "[]" if between["how"] == "inclusive" else "()", [between["low"], between["high"]]
    if (components := _components(text)) is not None:
        return "()", components
    if (transposed := _TRANSPOSED.fullmatch(text)) is not None:
        text = transposed[1]
    bracketed = _bracketed(text)
    if bracketed is not None:
        brackets, inner = bracketed
        parts = _parts(inner)
        return None if len(parts) < 2 else (brackets, _both_signs(parts))
    if (
        not is_pair_or_thousands(text)
        and _GROUPED_NUMBER.fullmatch(text)
        and len(_parts(text)) < 3
        and ", " not in text
    ):
        return None
    parts = _parts(text)
    if len(parts) > 1:
        return _where_both_hold(text, parts) or ("", _both_signs(parts))
    if (interval := _inequality(text)) is not None:
        return interval
    if _ROW.fullmatch(text):
        return " ", text.split()
    return ("", both) if len(both := _both_signs([text])) > 1 else None


def _components(text: str) -> list[str] | None:
    """The components of a vector that is a sum of unit vectors; ``None`` if the text is none."""
    found: dict[str, str] = {}
    place = 0
    while place < len(text) and (part := _COMPONENT.match(text, place)) is not None and (part[1] or not found):
        if part[3] in found:
            return None
        found[part[3]] = part[1].replace("+", "") + (part[2].replace(" ", "").strip("*") or "1")
        place = part.end()
    if place < len(text.rstrip()) or len(found) < 2:
        return None
    return [found.get(letter, "0") for letter in ("ijk" if "k" in found else "ij")]


def _around(holes: list[str]) -> tuple[str, list[str]] | None:
    """The intervals between numbers that are left out; ``None`` if it cannot be told how these lie."""
    places = [_NUMBER.fullmatch(hole) for hole in holes]
    if len(holes) > 1:
        if not all(places):
            return None
        holes = [
            hole
            for _, hole in sorted((_value(place), hole) for place, hole in zip(places, holes, strict=True) if place)
        ]
    ends = ["-\\infty", *holes, "\\infty"]
    return "", [f"({low},{high})" for low, high in pairwise(ends)]


def _value(number: re.Match[str]) -> Fraction:
    whole, below, top, bottom = number.groups()[1:]
    size = Fraction(top or whole) / Fraction(bottom or below or 1)
    return -size if number[1] else size


def _bracketed(text: str) -> tuple[str, str] | None:
    """The brackets around all of a text and what they hold."""
    start = 2 if text.startswith("\\{") else 1
    if len(text) < 3 or text[start - 1] not in _OPEN or text[-1] not in _CLOSED:
        return None
    depth = 0
    for index, character in enumerate(text):
        depth += (character in _OPEN) - (character in _CLOSED)
        if depth == 0 and index < len(text) - 1 and index >= start - 1:
            return None
    if depth or (text[start - 1] == "{") != (text[-1] == "}"):
        return None
    return text[start - 1] + text[-1], text[start:-1].removesuffix("\\")


def _parts(text: str) -> list[str]:
    """The text between the separators outside all brackets; a comma in a number of a list with spaces is none."""
    spaced = re.search(r"[,;]\s", text) is not None
    parts: list[str] = []
    depth = begin = index = 0
    while index < len(text) and len(parts) < _MOST_ITEMS:
        character = text[index]
        depth += (character in _OPEN) - (character in _CLOSED)
        found = _SEPARATOR.match(text, index) if depth == 0 else None
        if found is None or (spaced and index and _TIGHT.match(text, index - 1)):
            index += 1
            continue
        parts.append(text[begin:index])
        begin = index = found.end()
    return [part for part in (part.strip() for part in [*parts, text[begin:]]) if part]


def _both_signs(parts: list[str]) -> list[str]:
    both = []
    for part in parts:
        if part.count("\\pm") == 1:
            before, _, after = (piece.strip() for piece in part.partition("\\pm"))
            name, equals, value = before.rpartition("=")
            plus = f"{value.strip()} + {after}" if value.strip() else after
            both += [
                f"{name}{equals}{plus}",
                f"{name}{equals}{value} - {after}" if value.strip() else f"{name}{equals}-{after}",
            ]
        else:
            both.append(part)
    return both


def _where_both_hold(text: str, parts: list[str]) -> tuple[str, list[str]] | None:
    """The interval of two bounds of one variable: ``x > 2 and x < 5``.

    In a list (``x > 2, x < 5``) only where they meet.
    """
    sides = [side for part in parts if (side := _inequality(part)) is not None and len(side[1]) == 2]
    variables = {
        tuple(re.findall(rf"(?<![\\A-Za-z]){_VARIABLE}(?![A-Za-z])", re.sub(r"\\\w+", "", part))) for part in parts
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


def _inequality(text: str) -> tuple[str, list[str]] | None:
    pieces = _RELATION.split(text)
    if len(pieces) == 3:
        left, relation, right = pieces
        if (absolute := _ABSOLUTE.fullmatch(left)) is not None and right:
            first, last = ("(", ")") if not relation.startswith("\\") else ("[", "]")
            if absolute["from"] and absolute["center"]:
                return None
            place = absolute["from"] or absolute["center"]
            center = f"{'-' if absolute['sign'] == '+' else ''}{place}" if place else ""
            low, high = (f"{center}-({right})", f"{center}+{right}" if center else right)
            if relation in _LESS:
                return first + last, [low, high]
            return "", [f"(-\\infty,{low}{last}", f"{first}{high},\\infty)"]
        if re.fullmatch(_VARIABLE, right):
            left, right, relation = right, left, _turned(relation)
        if not re.fullmatch(_VARIABLE, left) or not right:
            return None
        closed = relation.startswith("\\")
        if relation in _LESS:
            return f"({']' if closed else ')'}", ["-\\infty", right]
        return f"{'[' if closed else '('})", [right, "\\infty"]
    if len(pieces) != 5 or not re.fullmatch(_VARIABLE, pieces[2]) or not pieces[0] or not pieces[4]:
        return None
    low, first, _, second, high = pieces
    if first in _MORE and second in _MORE:
        low, first, second, high = high, _turned(second), _turned(first), low
    if first not in _LESS or second not in _LESS:
        return None
    return ("[" if first == "\\leq" else "(") + ("]" if second == "\\leq" else ")"), [low, high]


def _turned(relation: str) -> str:
    return {"<": ">", ">": "<", "\\leq": "\\geq", "\\geq": "\\leq"}[relation]
