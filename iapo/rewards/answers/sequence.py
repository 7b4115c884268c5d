"""Answers of several parts: lists, sets, tuples, intervals, unions and inequalities, taken apart."""

import re
from dataclasses import dataclass, field
from typing import Any

from iapo.rewards.answers.intervals import VARIABLE, inequality, rule_of, said_interval, where_both_hold
from iapo.rewards.answers.parts import both_signs, bracketed, parts_of
from iapo.rewards.answers.vectors import components_of, row_of

_GROUPED_NUMBER = re.compile(r"[^\d]*\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,]).*")
_TWO_TRIPLES = re.compile(r"[1-9]\d\d,(?!000)[1-9]\d\d")
_ROW = re.compile(r"-?[\d./]+(?:\s+-?[\d./]+)+")
_MEMBER = re.compile(rf"(?:{VARIABLE}|\([a-z](?:,\s*[a-z])+\))\s*\\in\s*(?=[\[(\\{{])")
_EMPTY = re.compile(
    r"\\emptyset|\\?\{\s*\\?\}|\[\s*\]|(?:an\s+|the\s+)?empty\s+(?:list|array)|(?:the\s+)?(?:empty|null)\s+set",
    re.IGNORECASE,
)
_REMAINDER = re.compile(
    r"(\d+)(?:R|\s+[Rr]\.?|\s*,?\s+rem\.?|\s*,?\s+(?:with\s+)?(?:a\s+)?remainder(?:\s+(?:of|is))?)\s*(\d+)"
)


@dataclass(frozen=True)
class Sequence:
    """Several answers in one.

    Args:
        brackets: around them: ``()``, ``[]``, ``[)``, ``(]`` keep the order, ``{}`` and none do not. A row of numbers
            without any separator has a space here, and keeps its order.
        items: the answers.
        names: what each item is called, if each has another name: ``x = 1, y = 2``, ``mean 5, median 4``.
        variable: the letter that an interval is said of, where a relation says it: ``x > 3``.
    """

    brackets: str
    items: tuple[Any, ...]
    names: tuple[str, ...] = field(default=(), compare=False)
    variable: str = field(default="", compare=False)

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
    text = rule_of(_MEMBER.sub("", text, count=1) if _MEMBER.match(text) else text)
    if _EMPTY.fullmatch(text):
        return "{}", []
    if (divided := _REMAINDER.fullmatch(text)) is not None:
        return "()", [divided[1], divided[2]]
    if (said := said_interval(text)) is not None:
        return said
    if (components := components_of(text)) is not None:
        return "()", components
    text = row_of(text)
    if (inside := bracketed(text)) is not None:
        brackets, inner = inside
        parts = parts_of(inner)
        signed = [both_signs([part]) for part in parts]
        if brackets == "()" and sorted(map(len, signed))[-2:] == [1, 2]:  # (\pm 1, 0)
            return "", [f"({', '.join(each[-1 if is_last else 0] for each in signed)})" for is_last in (False, True)]
        return None if len(parts) < 2 else (brackets, both_signs(parts))
    parts = parts_of(text)
    is_one_number = not is_pair_or_thousands(text) and _GROUPED_NUMBER.fullmatch(text)
    if is_one_number and len(parts) < 3 and ", " not in text:
        return None
    if len(parts) > 1:
        return where_both_hold(text, parts) or ("", both_signs(parts))
    if (interval := inequality(text)) is not None:
        return interval
    if _ROW.fullmatch(text):
        return " ", text.split()
    return ("", both) if len(both := both_signs([text])) > 1 else None
