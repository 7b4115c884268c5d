"""Answers that stand at the end of a line: behind ``####``, or in a line of their own."""

import re
from dataclasses import dataclass

from iapo.styles.interface import AnswerStyle, Marked

_HASHES = re.compile(r"####(?!#)\s*(?=\S)")


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
