"""What a whole sentence says: a value, a result, what is explained in brackets, that nothing solves."""

import re

from iapo.rewards.answers.parts import ARITHMETIC, sides_of
from iapo.rewards.answers.quantity import Quantity
from iapo.rewards.answers.read_quantity import read_quantity
from iapo.rewards.answers.sequence import Sequence
from iapo.rewards.answers.words import Words, read_words

_CLAUSE_END = re.compile(r";|,(?!\d)")
_CALCULATION = re.compile(r"\d\D*[-+*/–x(]\s*[$€£(]?\d")
_SENTENCE_END = re.compile(r"[.;]\s+(?=[A-Z\d])")
_RESULT = re.compile(r"\s*-?\s*[$€£]?\s*-?\d[\d,]*(?:\.\d+)?(?!\s*(?:[-+*/^(\d]|x\s*\d))(?:\s*%)?")
_DENIED = re.compile(r"\b(?:not|never|cannot|instead|wrong|incorrect)\b|n't\b", re.IGNORECASE)
_STATED = re.compile(
    r"(?:[A-Z]|the\b|.*[,.]\s*(?:so|thus|hence|therefore)\s+the\s)[^,;=]*\b(?:is|are|was|were|equals)\s+(?:equal\s+to\s+|exactly\s+)?"
    r"(?P<value>[-+]?[$€£]?(?:\d|\\(?:frac|sqrt|pi)(?![A-Za-z]))[^,;]*)"
)
"""A sentence that ends with a value behind its verb."""
_LINK = re.compile(r"\b(?:and|or|than|if|from|by)\b", re.IGNORECASE)
_COPULA = re.compile(r"\b(?:is|are|was|were|equals|will)\b|=")
_EXPLAINED = re.compile(r"([A-Za-z][^()\d]{2,})\s*\((?!(?:or|and|but|no|yes)\b)([^()]+)\)", re.IGNORECASE)
_NO_SOLUTION = re.compile(
    r"^(?:[\w\s]*\b(?:has|have|is|are)\s+)?no\s+(?:real\s+)?solutions?(?:\s+exists?)?$", re.IGNORECASE
)


def explained(text: str) -> list[Words]:
    """The words in front of an explanation in brackets: ``oxidation (loss of electrons)``."""
    found = _EXPLAINED.fullmatch(text)
    return [] if found is None or _DENIED.search(found[2]) else [read_words(found[1])]


def calculated(text: str) -> list[Quantity]:
    """The result of the last calculation of a sentence: ``She makes 9 * 2 = $18 in two days``."""
    before, *sides = sides_of(_SENTENCE_END.split(text.rstrip("."))[-1])
    clause = _CLAUSE_END.split(before)[-1]
    if not sides or not _CALCULATION.search(clause) or not all(map(ARITHMETIC.fullmatch, sides[:-1])):
        return []
    result = _RESULT.match(sides[-1])
    if result is None or _DENIED.search(text):
        return []
    value = read_quantity(sides[-1])
    value = value if isinstance(value, Quantity) else read_quantity(result[0].strip())
    return [value] if isinstance(value, Quantity) else []


def stated(text: str) -> str:
    """The value that a sentence says, whose only verb stands in front of it; empty if it is none.

    Example:
        >>> stated("The sum of the numbers from 1 to 9 is 45"), stated("The mean is 4 and the median is 5")
        ('45', '')
    """
    text = _SENTENCE_END.split(text.rstrip("."))[-1]
    found = _STATED.fullmatch(text)
    if found is None or _DENIED.search(text) or _LINK.search(found["value"]):
        return ""
    return "" if len(_COPULA.findall(text[text.rfind(",") + 1 :])) > 1 else found["value"]


def no_solution(text: str) -> list[Sequence]:
    """The empty set, of a text that says that there is no solution."""
    return [Sequence("{}", ())] if _NO_SOLUTION.search(text) else []
