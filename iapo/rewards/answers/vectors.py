r"""Vectors: sums of unit vectors, rows that are transposed, columns in LaTeX."""

import re
from collections.abc import Iterable

_TRANSPOSED = re.compile(r"([(\[][^()\[\]]+[)\]])\s*\^\{\s*(?:T|\\top|\\intercal)\s*\}")
_COMPONENT = re.compile(r"\s*([-+]?)\s*((?:[\d\s.*/()]|\\(?:frac|sqrt)(?![A-Za-z])|[{}])*)([ijk])(?![A-Za-z])")
"""A part of a vector: the ``-3j`` of ``2i - 3j + k``."""


def components_of(text: str) -> list[str] | None:
    r"""The components of a vector that is a sum of unit vectors; ``None`` if the text is none.

    Example:
        >>> components_of("2i - 3j + k"), components_of(r"-j + \sqrt{2} k"), components_of("3 + 2i")
        (['2', '-3', '1'], ['0', '-1', '\\sqrt{2}'], None)
    """
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


def row_of(text: str) -> str:
    """A row whose transpose the text is, as column vectors are written in a line: ``(1, 2)^T``; else the text."""
    return text if (transposed := _TRANSPOSED.fullmatch(text)) is None else transposed[1]


def column(rows: Iterable[str]) -> str:
    r"""A matrix in LaTeX of one column, or of the rows that are given.

    Example:
        >>> column(["1", "2"])
        '\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}'
    """
    return r"\begin{pmatrix} " + r" \\ ".join(map(str.strip, rows)) + r" \end{pmatrix}"
