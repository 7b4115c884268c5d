"""Answers whose closing begins with a brace that the answer may hold too: they end where theirs is closed."""

import re
from collections.abc import Iterator
from functools import lru_cache

from iapo.styles.interface import AnswerStyle, Marked


def ends_in_brace(opening: str, closing: str) -> bool:
    """Whether an opening ends in a brace, and the closing begins with its partner."""
    return opening.endswith("{") and closing.startswith("}")


def find_in_brackets(text: str, opening: str, style: AnswerStyle) -> Marked | None:
    r"""The closed answer that opens last and is not empty, its braces balanced; escaped ones (``\{``) are characters.

    Args:
        text: that is read.
        opening: a regular expression of what opens an answer, its brace included.
        style: whose closing begins with the partner of that brace; an answer that is closed in another way is none.
    """
    return max(all_in_brackets(text, opening, style), key=lambda answer: answer.opening, default=None)


def all_in_brackets(text: str, opening: str, style: AnswerStyle) -> Iterator[Marked]:
    """All closed answers that are not empty, in the order in which they end; see `find_in_brackets`."""
    opened: list[tuple[int, int] | None] = []
    first = re.search(opening, text)
    for part in _parts(opening).finditer(text, first.start() if first else len(text)):
        if part[0] == "}":
            answer = opened.pop() if opened else None
            closes = answer is not None and text.startswith(style.closing, part.start())
            if answer is not None and closes and text[answer[1] : part.start()].strip():
                yield Marked(*answer, part.start(), part.start() + len(style.closing), style)
        elif part["opening"] is not None:
            opened.append((part.start(), part.end()))
        elif part[0] == "{":
            opened.append(None)


@lru_cache
def _parts(opening: str) -> re.Pattern[str]:
    """What opens an answer, an escaped character, or a brace."""
    escaped = rf"\\(?!{opening})." if opening.startswith(r"\\") else r"\\."  # in r"\\boxed{1}" no brace is
    return re.compile(rf"(?P<opening>{opening})|{escaped}|[{{}}]", re.DOTALL)
