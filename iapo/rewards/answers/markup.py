r"""Texts without the marks of Markdown and HTML that only say how they look: ``**72** apples`` is ``72 apples``."""

import html
import re

_OPENING, _ENDING = r"\s\"'(\[:,=$`", r"\s\"')\].,:;!?%°`"
"""What may stand before and behind a pair of marks: next to anything else they are operators, or parts of a name."""


def _pair(mark: str, sign: str, other: str) -> re.Pattern[str]:
    """Text between two of a mark; those of the other sign may be around it."""
    text = rf"(?P<text>[^\s{sign}](?:[^{sign}]*[^\s{sign}])?)"
    return re.compile(rf"(?<![^{_OPENING}{other}])({mark}){text}\1(?![^{_ENDING}{other}])")


_PAIRS = (
    re.compile(r"<(b|i|u|em|strong|mark|code|tt|small|span)(?:\s[^<>]*)?>(?P<text>[^<>]*)</\1>", re.IGNORECASE),
    re.compile(r"^(\*{1,3}|_{1,3})(?P<text> .* )\1$"),
    re.compile(r"^(\*\*)(?P<text>[^\s*]+\*\*[^\s*]+)\1$"),
    _pair(r"\*{1,3}", "*", "_"),
    _pair("_{1,3}", "_", "*"),
)
_LONE = (
    # Not what raises to a power: "2**10", "x ** 2".
    re.compile(r"(?<=[^\s*_(])(?:\*\*\*?|___?)(?=\s*$|[.,;:!?)]|\s+\(?[^\W\d_]{2})"),
    re.compile(r"(?:(?<=\s)|^)(?:\*\*\*?|___?)(?=[^\W\d_]{2})"),
)
"""The mark of a pair whose other half is outside of the answer: ``**Answer: 72** clips``."""
_STRUCK = re.compile(r"<(s|del|strike)>[^<>]*</\1>|(?<!\S)~~(?=\S)[^~]+(?<=\S)~~(?!\w)", re.IGNORECASE)
"""What was taken back."""
_BREAKS = re.compile(r"</?(?:br|p|div|center)\s*/?>|[✅✔☑🎉🎯✨]\ufe0f?", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:[A-Za-z]{2,8}|#\d{1,6});")
_MOST_LAYERS = 4


def without_markup(text: str) -> str:
    r"""The text without the signs of bold, slanted and underlined type.

    What is struck out is left out. Stars that multiply or raise to a power stay, and bars that lower an index.

    Example:
        >>> without_markup("**72** apples"), without_markup("72** apples"), without_markup("2**3 * *x* <b>y_1</b>")
        ('72 apples', '72 apples', '2**3 * x y_1')
    """
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
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
