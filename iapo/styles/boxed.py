r"""Answers in a LaTeX box."""

import re
from dataclasses import dataclass

from iapo.styles.brackets import find_in_brackets
from iapo.styles.interface import AnswerStyle, Marked

_BOX = r"\\(?:boxed|fbox)\s*\{"
_BARE = re.compile(r"\\(?:boxed|fbox)\s*([-+]?\.?\d(?:[\d.,/]*\d)?)")
"""A number in a box without braces, as some solutions of MATH have it: ``$\\boxed 72$``."""


@dataclass(frozen=True)
class Boxed(AnswerStyle):
    r"""The last closed ``\boxed{...}`` or ``\fbox{...}``, its braces balanced; of nested boxes the inner one.

    Escaped braces (``\{``) are characters of the answer. A box that is never closed is none, nor is an empty one. Where
    there is none, a number in a box without braces is read: ``\boxed 72``.

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
        """The closed box that opens last, else the last number in one without braces."""
        found = find_in_brackets(text, _BOX, self)
        bare = list(_BARE.finditer(text)) if found is None else []
        return Marked(bare[-1].start(), *bare[-1].span(1), bare[-1].end(), self) if bare else found
