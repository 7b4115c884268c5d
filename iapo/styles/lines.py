"""Answers that stand at the end of a line: behind ``####``, behind a phrase, or in a line of their own."""

import re
from dataclasses import dataclass
from functools import lru_cache

from iapo.styles.interface import AnswerStyle, Marked, check_text

_HASHES = re.compile(r"####(?!#)\s*(?=\S)")
_USUAL = r"\b(?:(?:the|my)\s+)?(?:final\s+)?answer\b[*_]*\s*(?:is\b|was\b|[:=])"
_OWN_PERIOD = re.compile(r"(?:[A-Za-z]\.\s?[A-Za-z]|\.\s?)\.$")
"""A period that ends no sentence: of an abbreviation (``p.m.``), or one of several."""


@dataclass(frozen=True)
class Hashes(AnswerStyle):
    """What stands in the line behind the last ``####``, as GSM8K writes it.

    Args:
        closing: text that ends an answer that is asked for.

    Example:
        >>> text = "48+24=72\\n#### 72\\n"
        >>> found = Hashes().find(text)
        >>> text[found.start:found.stop]
        '72'
    """

    closing: str = "\n"
    opening = "#### "

    def find(self, text: str) -> Marked | None:
        """The rest of the line behind the last mark that anything follows."""
        marks = list(_HASHES.finditer(text))
        return rest_of_line(text, marks[-1].start(), marks[-1].end(), self) if marks else None


@dataclass(frozen=True)
class Phrase(AnswerStyle):
    """What stands in the line behind the last phrase that announces it: ``The answer is 72.``, ``Final answer: 72``.

    The usual phrases are read (``answer is``, ``answer:``, in any case, with ``final`` or in bold), and the one that is
    asked with. A period that ends the sentence is no part of the answer.

    Args:
        opening: the phrase that asks for an answer.
        closing: text that ends an answer that is asked for.

    Raises:
        ValueError: a phrase without any letter or sign.

    Example:
        >>> text = "Her total is the result: 72 clips."
        >>> found = Phrase(opening="the result: ").find(text)
        >>> text[found.start:found.stop]
        '72 clips'
    """

    opening: str = "The answer is "
    closing: str = "."

    def __post_init__(self) -> None:
        check_text("opening", self.opening.strip())

    def find(self, text: str) -> Marked | None:
        """The rest of the line behind the last phrase that anything follows."""
        marks = list(_pattern(self.opening.strip()).finditer(text))
        if not marks:
            return None
        found = rest_of_line(text, marks[-1].start(), marks[-1].end(), self)
        answer = text[found.start : found.stop]
        if not answer.endswith(".") or _OWN_PERIOD.search(answer):
            return found
        stop = found.start + len(answer[:-1].rstrip())
        return found._replace(stop=stop, closing=found.stop if self.closing == "." else stop)


@dataclass(frozen=True)
class LastLine(AnswerStyle):
    """The last line that is not empty, whatever stands there: for completions that mark their answer in no way.

    Args:
        closing: text that ends an answer that is asked for.

    Example:
        >>> text = "2+2=4\\n4\\n"
        >>> LastLine().find(text)[1:3]
        (6, 7)
    """

    closing: str = "\n"
    opening = ""

    def find(self, text: str) -> Marked | None:
        """The last line, without white space around it."""
        stop = len(text.rstrip())
        if not stop:
            return None
        start = text.rfind("\n", 0, stop) + 1
        return rest_of_line(text, start, start, self)


def rest_of_line(text: str, opening: int, start: int, style: AnswerStyle) -> Marked:
    """The answer from the first sign at or behind ``start`` to the end of its line; stars of bold type are left out."""
    while start < len(text) and (text[start].isspace() or text[start] == "*"):
        start += 1
    end = text.find("\n", start)
    line = text[start : len(text) if end < 0 else end].rstrip(" \t\r*")
    stop = start + len(line)
    closed = stop + len(style.closing) if text.startswith(style.closing, stop) else stop
    return Marked(opening, start, stop, closed, style)


@lru_cache
def _pattern(phrase: str) -> re.Pattern[str]:
    """A phrase or one of the usual ones, with signs of bold type and colons behind it, where something follows."""
    return re.compile(rf"(?:{re.escape(phrase)}|{_USUAL})[*_:]*(?=[\s*]*[^\s*])", re.IGNORECASE)
