r"""Texts without the marks of Markdown and HTML that only say how they look: ``**72** apples`` is ``72 apples``."""

import html
import re

_PAIRS = (
    re.compile(r"<(b|i|u|em|strong|mark|code|tt|small)>(?P<text>[^<>]*)</\1>", re.IGNORECASE),
    re.compile(r"^(\*{1,3}|_{1,3})(?P<text> .* )\1$"),  # with spaces inside, around all of it
    re.compile(r"^(\*\*)(?P<text>[^\s*]+\*\*[^\s*]+)\1$"),  # around a power, written with two stars
    re.compile(r"(?<![\w*])(\*\*\*?)(?P<text>[^\s*](?:[^*]*[^\s*])?)\1(?![\w*])"),
    re.compile(r"(?<![^\W_])(___?)(?P<text>[^\s_](?:[^_]*[^\s_])?)\1(?![^\W_])"),
    # One star may multiply, one bar lower an index: not at the beginning, before a word.
    re.compile(r"^([*_])(?P<text>[^\s*_](?:[^*_]*[^\s*_])?)\1(?=$|[.,;:!?]|\s+[^\W\d_]{2})"),
)
_LONE = (
    # Not what raises to a power: "2**10", "x ** 2".
    re.compile(r"(?<=[^\s*_(])(?:\*\*\*?|___?)(?=\s*$|[.,;:!?)]|\s+\(?[^\W\d_]{2})"),
    re.compile(r"(?:(?<=\s)|^)(?:\*\*\*?|___?)(?=[^\W\d_]{2})"),
)
"""The mark of a pair whose other half is outside of the answer: ``**Answer: 72** clips``."""
_STRUCK = re.compile(r"<(s|del|strike)>[^<>]*</\1>|(?<![\w~])~~[^~]+~~(?![\w~])", re.IGNORECASE)
"""What was taken back."""
_BREAKS = re.compile(
    r"</?(?:br|p|div|center)\s*/?>|<<[^<>]*=[^<>]*>>|<\|[a-z_]{5,}\|>|</s>|[✅✔✓☑🎉🎯✨]\ufe0f?", re.IGNORECASE
)
_FENCED = re.compile(r"^\s*```(?:\w+\s)?(.+)```\s*$", re.DOTALL)
_ENTITY = re.compile(r"&(?:[A-Za-z]{2,8}|#\d{1,6});")
_MOST_LAYERS = 4


def without_markup(text: str) -> str:
    r"""The text without the signs of bold, slanted and underlined type.

    What is struck out is left out. Stars that multiply or raise to a power stay, and bars that lower an index.

    Example:
        >>> without_markup("**72** apples"), without_markup("72** apples"), without_markup("2**3 * <b>y_1</b>")
        ('72 apples', '72 apples', '2**3 * y_1')
    """
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text = _FENCED.sub(r"\1", text)
    text = _BREAKS.sub(" ", _STRUCK.sub(" ", text)).strip()
    for _ in range(_MOST_LAYERS):
        before = text
        for pair in _PAIRS:
            text = pair.sub(r"\g<text>", text)
        if text == before:
            break
    for mark in _LONE:
        text = mark.sub("", text)
    return text
