r"""Answers in a LaTeX box."""

import re
from dataclasses import dataclass

from iapo.styles.brackets import all_in_brackets
from iapo.styles.interface import AnswerStyle, Marked

_BOX = r"\\(?:boxed|fbox)\s*\{"
_BARE = re.compile(r"\\(?:boxed|fbox)\s*([-+]?\.?\d(?:[\d.,/]*\d)?)")
"""A number in a box without braces, as some solutions of MATH have it: ``$\\boxed 72$``."""
_AND = r"(?:[,;、，；和与或]|\band\b|\bor\b|\\(?:text|textrm|mbox)\{\s*,?\s*(?:and|or)\s*\})"
_SPACE = r"(?:[\s$]|\\[()\[\] ,;:!]|\\q?quad\b)*"
_JOINED = re.compile(rf"{_SPACE}{_AND}(?:{_SPACE}{_AND})?{_SPACE}")
"""What stands between boxes that are one answer together: ``\\boxed{3}$ and $\\boxed{5}``."""
_NEXT_BOX = re.compile(rf"\}}{_JOINED.pattern}{_BOX}")


@dataclass(frozen=True)
class Boxed(AnswerStyle):
    r"""The last closed ``\boxed{...}`` or ``\fbox{...}``, its braces balanced; of nested boxes the inner one.

    Boxes that a comma, ``and`` or ``or`` joins are one answer: ``\boxed{3} and \boxed{5}`` says ``3, 5``. Escaped
    braces (``\{``) are characters of the answer. A box that is never closed is none, nor is an empty one. Where there
    is none, a number in a box without braces is read: ``\boxed 72``.

    Example:
        >>> text = r"so \boxed{\frac{1}{2}}. Check: \frac{10}{20}"
        >>> found = Boxed().find(text)
        >>> text[found.start:found.stop]
        '\\frac{1}{2}'
    """

    opening = "\\boxed{"
    closing = "}"

    @property
    def needed_closings(self) -> tuple[str, ...]:
        """Its closing."""
        return (self.closing,)

    def find(self, text: str) -> Marked | None:
        """The closed box that opens last, with those that it is joined to; else the last number in one without braces.

        The answer as it is written begins in the first of joined boxes and ends in the last.
        """
        boxes = sorted(all_in_brackets(text, _BOX, self), key=lambda box: box.opening)
        if not boxes:
            bare = list(_BARE.finditer(text))
            return Marked(bare[-1].start(), *bare[-1].span(1), bare[-1].end(), self) if bare else None
        found = boxes.pop()
        for before in reversed(boxes):
            if not _JOINED.fullmatch(text, before.closing, found.opening):
                break
            found = found._replace(opening=before.opening, start=before.start)
        return found

    def plain(self, written: str) -> str:
        """What stands in the box or, of several, in each of them, once."""
        return ", ".join(dict.fromkeys(_NEXT_BOX.split(written)))
