r"""Answers in a LaTeX box."""

import re
from dataclasses import dataclass

from iapo.styles.interface import AnswerStyle, Marked

_BOX = re.compile(r"\\boxed\s*\{|\\(?!\\boxed\s*\{).|[{}]", re.DOTALL)
"""The opening of a box, an escaped character (``\\{``), or a brace."""


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

    def find(self, text: str) -> Marked | None:
        """The closed box that opens last."""
        opened: list[tuple[int, int] | None] = []
        last: Marked | None = None
        for part in _BOX.finditer(text, max(text.find("\\boxed"), 0)):
            if part[0] == "}":
                box = opened.pop() if opened else None
                if box is not None and (last is None or box[0] > last.opening):
                    last = Marked(*box, part.start(), part.end(), self)
            elif part[0] == "{":
                opened.append(None)
            elif part[0].endswith("{") and len(part[0]) > 2:
                opened.append((part.start(), part.end()))
        return last
