"""Text and numbers as they may be shown: nothing that acts on a terminal or on the text around it gets through."""

import unicodedata

_JOINERS = "\u200c\u200d"  # part of the spelling in several scripts and in emoji


def printable(text: str) -> str:
    """The text with every acting or invisible character replaced by a visible stand-in.

    Control characters become control pictures, other invisible ones (direction marks, separators, zero-width spaces)
    their code point, lone surrogates the replacement character. Newline, tab and joiners stay.

    Args:
        text: any text, possibly hostile.

    Returns:
        Text that can be encoded as UTF-8 and written to a terminal.

    Example:
        >>> printable("a\\x1b[2Jb")
        'a␛[2Jb'
    """
    return "".join(map(_glyph, text))


def number(value: float | None, sign: bool = False, digits: int = 3) -> str:
    """A number for reading, with a true minus sign; a dash for ``None``.

    Args:
        value: the number.
        sign: whether a positive number gets a plus sign.
        digits: decimals.

    Example:
        >>> number(-0.0004), number(0.25, sign=True), number(None)
        ('0.000', '+0.250', '–')
    """
    if value is None:
        return "–"
    shown = f"{value:.{digits}e}" if abs(value) >= 1e5 else f"{value:.{digits}f}"
    if float(shown) == 0:
        return shown.lstrip("-")
    return ("+" if sign and value > 0 else "") + shown.replace("-", "−", 1 if value < 0 else 0)


def _glyph(character: str) -> str:
    code = ord(character)
    if character in "\n\t" or character in _JOINERS:
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    category = unicodedata.category(character)
    if category == "Cs":
        return "\N{REPLACEMENT CHARACTER}"
    return f"<U+{code:04X}>" if category in ("Cc", "Cf", "Zl", "Zp") else character
