r"""Answers in a LaTeX box."""

from dataclasses import dataclass

from iapo.styles.brackets import find_in_brackets
from iapo.styles.interface import AnswerStyle, Marked

_BOX = r"\\boxed\s*\{"


@dataclass(frozen=True)
class Boxed(AnswerStyle):
    r"""The last closed ``\boxed{...}``, its braces balanced; of nested boxes the inner one.

    Escaped braces (``\{``) are characters of the answer. A box that is never closed is none.

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
        """The closed box that opens last."""
        return find_in_brackets(text, _BOX, self)
