"""A text taken apart at its brackets, its separators, its double signs and its signs of equality."""

import re

_OPEN, _CLOSED = "([{", ")]}"
_SEPARATOR = re.compile(
    r"[,;](?:\s*(?:and|or)\b)?|(?<![\w\\])(?:and|or)(?![\w])|\\(?:text\{)?(?:land|lor)(?![A-Za-z])|\\cup(?![A-Za-z])"
)
_TIGHT = re.compile(r"\d,\d{3}(?!\d)")
_MOST_ITEMS = 200
_EQUALS = re.compile(r"(?<![\\<>!=])=(?!=)")
ARITHMETIC = re.compile(r"[\d\s.,+*/()$€£^{}%!-]*|[\d\s.,+*/()$€£^{}%!-]*(?:\\(?:frac|binom)[\d\s.,+*/()$€£^{}%!-]*)+")
"""The pattern of a calculation with numbers alone, or of nothing."""


def bracketed(text: str) -> tuple[str, str] | None:
    """The brackets around all of a text and what they hold."""
    start = 2 if text.startswith("\\{") else 1
    if len(text) < 3 or text[start - 1] not in _OPEN or text[-1] not in _CLOSED:
        return None
    depth = 0
    for index, character in enumerate(text):
        depth += (character in _OPEN) - (character in _CLOSED)
        if depth == 0 and index < len(text) - 1 and index >= start - 1:
            return None
    if depth or (text[start - 1] == "{") != (text[-1] == "}"):
        return None
    return text[start - 1] + text[-1], text[start:-1].removesuffix("\\")


def parts_of(text: str) -> list[str]:
    """The text between the separators outside all brackets; a comma in a number of a list with spaces is none."""
    spaced = re.search(r"[,;]\s", text) is not None
    parts: list[str] = []
    depth = begin = index = 0
    while index < len(text) and len(parts) < _MOST_ITEMS:
        character = text[index]
        depth += (character in _OPEN) - (character in _CLOSED)
        found = _SEPARATOR.match(text, index) if depth == 0 else None
        if found is None or (spaced and index and _TIGHT.match(text, index - 1)):
            index += 1
            continue
        parts.append(text[begin:index])
        begin = index = found.end()
    return [part for part in (part.strip() for part in [*parts, text[begin:]]) if part]


def both_signs(parts: list[str]) -> list[str]:
    r"""The parts, with two in the place of one that has a double sign.

    Example:
        >>> both_signs([r"x = 1 \pm 2", "3"])
        ['x = 1 + 2', 'x = 1 - 2', '3']
    """
    both = []
    for part in parts:
        if part.count("\\pm") == 1:
            before, _, after = (piece.strip() for piece in part.partition("\\pm"))
            name, equals, value = (piece.strip() for piece in before.rpartition("="))
            signed = (f"{value} + {after}", f"{value} - {after}") if value else (after, f"-{after}")
            both += [f"{name} = {each}" if equals else each for each in signed]
        else:
            both.append(part)
    return both


def sides_of(text: str) -> list[str]:
    r"""What the signs of equality stand between, but for those in braces: ``\sum_{n=0}``."""
    signs = [sign for sign in _EQUALS.finditer(text) if _is_outside_braces(text, sign.start())]
    begins, ends = [0, *(sign.end() for sign in signs)], [*(sign.start() for sign in signs), len(text)]
    return [text[begin:end].strip() for begin, end in zip(begins, ends, strict=True)]


def _is_outside_braces(text: str, place: int) -> bool:
    braces = re.findall(r"(?<!\\)[{}]", text[:place])
    return 2 * braces.count("{") <= len(braces)
