r"""Formulas in words: ``x squared plus 3``, ``the square root of 2``, ``two pi``."""

import re

from iapo.rewards.answers.expression import FUNCTION_NAMES
from iapo.rewards.answers.numerals import ordinal_value, words_value

_TERM = r"(?:\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z])|\([^()]*\))"
_WRITTEN = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (rf"\b(?:the\s+)?cube\s+root\s+of\s+({_TERM})", r"\\sqrt[3]{\1}"),
        (rf"\b(?:the\s+)?(?:square\s+)?root\s+(?:of\s+)?({_TERM})", r"\\sqrt{\1}"),
        (r"\s+squared\b", "^{2}"),
        (r"\s+cubed\b", "^{3}"),
        (rf"\s+(?:raised\s+)?to\s+the\s+power\s+(?:of\s+)?({_TERM})", r"^{\1}"),
        (rf"\s+(?:raised\s+)?to\s+the\s+({_TERM})(?:st|nd|rd|th)?(?:\s+power)?(?!\w)", r"^{\1}"),
        (rf"\b(?:the\s+)?absolute\s+value\s+of\s+({_TERM})", r"|\1|"),
        (rf"\b(?:the\s+)?reciprocal\s+of\s+({_TERM})", r"1/\1"),
        (rf"^negative\s+(?={_TERM})", "-"),
        (r"(?<=\d)\s+factorial\b", "!"),
        (r"\s+(?:is\s+not\s+equal\s+to|does\s+not\s+equal|cannot\s+(?:be|equal))\s+", r" \\neq "),
        (r"\s+(?:is\s+equal\s+to|equals)\s+", " = "),
        (r"\s+plus\s+", " + "),
        (r"\s+minus\s+", " - "),
        (r"\s+(?:times|multiplied\s+by)\s+", " * "),
        (r"\s+(?:over|divided\s+by)\s+", "/"),
        (r"(?<![\\A-Za-z])pi\b", r"\\pi"),
    )
)
_POWER = re.compile(r"(?<=\bto\sthe\s)(?:second|third|fourth|fifth|sixth)\b", re.IGNORECASE)
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}(?:-[A-Za-z]+)?")


def _digits(word: str) -> str:
    """A number in digits; any other word as it is."""
    value = words_value(word)
    return word if value is None else str(value)


def written(text: str) -> str:
    r"""The formula that a text says, whose words are all of mathematics; empty if it is none, or has no words.

    Args:
        text: in the notation of `iapo.rewards.answers.notation.plain`.

    Example:
        >>> written("x squared plus three"), written("the square root of 2"), written("x squared miles"), written("2x")
        ('x^{2} + 3', '\\sqrt{2}', '', '')
    """
    found = _POWER.sub(lambda ordinal: str(ordinal_value(ordinal[0])), text)
    found = _WORD.sub(lambda word: _digits(word[0]), found)
    for pattern, replacement in _WRITTEN:
        found = pattern.sub(replacement, found)
    if found == text or any(word not in FUNCTION_NAMES for word in _WORD.findall(found)):
        return ""
    return found
