"""Tokens without color: lines of text as they are, and under each what its tokens are worth, a sign a token."""

from collections.abc import Iterable, Iterator

TEXT, MARKS = "│ ", "  "
"""What the two kinds of lines begin with."""

NOT_MEASURED = "·"


def mark(level: int) -> str:
    """The sign of a level: a digit for a gain, a letter for a loss, and a space for nothing.

    Example:
        >>> mark(5), mark(0), mark(-1)
        ('5', ' ', 'a')
    """
    return " " if level == 0 else str(level) if level > 0 else "abcde"[-level - 1]


def marked_lines(tokens: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """Lines of text, each followed by a line of marks if it has any.

    A mark stands under the first character of its token, or under the first that is left of it in a new line.

    Args:
        tokens: what is shown of each, and its mark; a newline ends the line.
        width: columns of a line at most, without what the lines begin with.
    """
    from rich.cells import cell_len

    text, marks, used = "", "", 0
    for shown, sign in tokens:
        for character in shown:
            size = 0 if character == "\n" else cell_len(character)
            if character == "\n" or used + size > width:
                yield from _both(text, marks)
                text, marks, used = "", "", 0
            if character == "\n":
                continue
            if size and sign.strip():
                marks += " " * (used - len(marks)) + sign
                sign = " "
            text, used = text + character, used + size
    if text:
        yield from _both(text, marks)


def _both(text: str, marks: str) -> Iterator[str]:
    yield TEXT + text
    if marks:
        yield MARKS + marks
