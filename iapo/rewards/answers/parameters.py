r"""Letters that stand for any number: constants of integration, integers of a general solution."""

import re
from itertools import permutations

_LETTER = r"(?:[A-Za-z](?:_\{[^{}]*\})?)"
_LETTERS = rf"{_LETTER}(?:\s*(?:,|and|,\s*and)\s*{_LETTER}){{0,4}}"
_KIND = r"(?:integers?|constants?|(?:real\s+|natural\s+|whole\s+)?numbers?|reals?|parameters?)"
_SUCH = r"(?:(?:arbitrary|real|any|some|positive|non-?negative|nonzero|non-zero)\s+)*"
_SET = r"\\in\s*(?:\\mathbb\s*\{?\s*[ZNQC]\s*\}?|\(-\\infty,\\infty\)|[ZNQ]\b)(?:\^\{?\+\}?)?"
_STATED = re.compile(
    rf"(?:\s*[,;(]\s*|(?<=[^\s,;(])\s+(?=(?:where|with|for|when)\b|{_LETTER}\s*(?:\\in|is)(?![A-Za-z])))(?:"
    rf"(?:(?:where|with|for|when)\s+)?(?P<letters>{_LETTERS})\s*(?:{_SET}|(?:is|are)?\s+(?:an?\s+)?{_SUCH}{_KIND})"
    rf"|(?:for|where|with)\s+(?:any|all|every|each|some|an?)?\s*{_SUCH}{_KIND}\s+(?P<named>{_LETTERS})(?:\s*{_SET})?"
    rf"|for\s+(?:all|any|every)\s+{_LETTER}(?:\s*{_SET})?"
    r")\s*\)?$",
    re.IGNORECASE,
)
"""What is said of the letters of a formula behind it: ``, n \\in \\mathbb{Z}``, ``for any constant c``."""
_TOKEN = re.compile(rf"\\[A-Za-z]+|{_LETTER}")
_ADDED = re.compile(r"[-+]\s*([CK](?:_\{\d\})?)\s*$")
_SOLVES = re.compile(r"[A-Za-z]\s*\^\{|\\(?:sin|cos|exp|sinh|cosh)(?![A-Za-z])")
"""What a solution of a differential equation has in it."""
_FACTOR = re.compile(r"(?:C|[CcKk]_\{\d\})")
_FIXED = frozenset("ei")
_MOST = 3


def without_parameters(text: str) -> tuple[str, frozenset[str]]:
    r"""A text without what it says of the letters behind its formula, and the letters that it says are any number.

    Args:
        text: in the notation of `iapo.rewards.answers.notation.plain`.

    Example:
        >>> without_parameters(r"x = n\pi, n \in \mathbb{Z}"), without_parameters("f(x) = cx for any constant c")
        (('x = n\\pi', frozenset({'n'})), ('f(x) = cx', frozenset({'c'})))
    """
    found = _STATED.search(text)
    if found is None or not re.search(r"\w", text[: found.start()]):
        return text, frozenset()
    named = re.findall(_LETTER, re.sub(r"\band\b", ",", found["letters"] or found["named"] or ""))
    return text[: found.start()], frozenset(named)


def renamed(formula: str, names: dict[str, str]) -> str:
    r"""A formula with other letters.

    Example:
        >>> renamed(r"t\tan 2t + c_{1}", {"t": "x", "c_{1}": "C"})
        'x\\tan 2x + C'
    """
    return _TOKEN.sub(lambda token: names.get(token[0], token[0]), formula)


def renamings(wanted: str, stated: frozenset[str], given: str) -> list[dict[str, str]]:
    r"""The ways to give the letters of an answer that may stand for any number the names of those of the reference.

    A letter stands for any number where that is stated; and ``C`` does where it is added last, as to an integral, or
    where it or ``C_{1}`` is a factor in a solution of a differential equation.

    Args:
        wanted: the formula of the reference.
        stated: its letters of which it is stated.
        given: the formula of the answer.

    Example:
        >>> renamings("x^{2} + C", frozenset(), "x^{2} + k"), renamings("x + b", frozenset(), "x + a")
        ([{'k': 'C'}], [])
    """
    letters, others = _letters(wanted), _letters(given)
    free = set(letters) & stated
    free |= set(_ADDED.findall(wanted))
    if _SOLVES.search(wanted):
        free |= {letter for letter in letters if _FACTOR.fullmatch(letter)}
    theirs = [letter for letter in others if letter not in letters or letter in free]
    if not 0 < len(free) == len(theirs) <= _MOST:
        return []
    ways = [dict(zip(theirs, names, strict=True)) for names in permutations(sorted(free))]
    return [way for way in ways if any(one != two for one, two in way.items())]


def _letters(formula: str) -> list[str]:
    return [token for token in dict.fromkeys(_TOKEN.findall(formula)) if token[0] != "\\" and token not in _FIXED]
