"""Answers in a field of a JSON object."""

import json
import re
from dataclasses import dataclass
from itertools import islice

from iapo.ops.checks import check_kinds
from iapo.styles.interface import AnswerStyle, Marked, check_text

_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"|\'((?:[^\'\\\n]|\\.)*)\'')
_WORD = re.compile(r'[^\s",}\]\[{][^,}\n]*')
_CLOSE = re.compile(r"\s*\}")
_ESCAPED = re.compile(r'\\(?:["\'\\/]|u(?![dD][89a-fA-F])([0-9a-fA-F]{4})|[nrt](?![A-Za-z]))')
_TO_ESCAPE = re.compile(r'["\\\x00-\x1f]')
_WHITE = {"n": "\n", "r": "\r", "t": "\t"}
_NOTHING = ("null", "None")
_TRIED = 8
"""Fields that are looked at, from the last one, for one whose value can be read."""


@dataclass(frozen=True)
class JsonField(AnswerStyle):
    r"""The value of the last field of that name, ``{"answer": "72"}``; text around the object is allowed.

    In a text value ``\"``, ``\\`` and ``\/`` stand for the sign behind the backslash, ``\u00b0`` for its character, and
    ``\n``, ``\r`` and ``\t`` for white space where no letter follows; other backslashes, as of LaTeX that was not
    escaped, stay.

    Args:
        field: its name.
        quoted: whether an answer that is asked for is a text, not a number.

    Raises:
        ValueError: an empty name.

    Example:
        >>> text = '2+2=4 {"sure": true, "answer": 4}'
        >>> found = JsonField().find(text)
        >>> text[found.start:found.stop]
        '4'
    """

    field: str = "answer"
    quoted: bool = True

    def __post_init__(self) -> None:
        check_kinds(self)
        check_text("field", self.field)

    @property
    def opening(self) -> str:  # type: ignore[override]
        """An object with this field, up to its value."""
        return f"{{{json.dumps(self.field)}: " + ('"' if self.quoted else "")

    @property
    def closing(self) -> str:  # type: ignore[override]
        """The end of value and object."""
        return ('"' if self.quoted else "") + "}"

    @property
    def _key(self) -> str:
        """The pattern of the field's name, which code in Python writes in single quotes."""
        inside = re.escape(json.dumps(self.field)[1:-1])
        return f"(?:\"{inside}\"|'{inside}')"

    @property
    def needed_closings(self) -> tuple[str, ...]:
        """The quotes behind a text; a number needs nothing behind it."""
        return ('"',)

    def find(self, text: str) -> Marked | None:
        """The value of the last field that has one."""
        keys = list(re.finditer(self._key + r"\s*:\s*", text))
        for key in islice(reversed(keys), _TRIED):
            value = _value(text, key.end())
            if value is not None:
                start, stop, end = value
                brace = text.rfind("{", 0, key.start())
                opening = brace if brace >= 0 and not text[brace + 1 : key.start()].strip() else key.start()
                close = _CLOSE.match(text, end)
                return Marked(opening, start, stop, close.end() if close else end, self)
        return None

    def plain(self, written: str) -> str:
        """The value, without what escapes its signs."""
        return _ESCAPED.sub(_sign, written)

    def write(self, answer: str) -> str:
        """A text value with its quotes, backslashes and control characters escaped, in quotes where it needs them."""
        escaped = _TO_ESCAPE.sub(_escape, answer)
        if self.quoted:
            return escaped
        is_word = escaped == answer and _value(answer + self.closing, 0) == (0, len(answer), len(answer))
        return answer if is_word else f'"{escaped}"'


def _sign(escaped: re.Match[str]) -> str:
    return chr(int(escaped[1], 16)) if escaped[1] else _WHITE.get(escaped[0][1], escaped[0][1])


def _escape(sign: re.Match[str]) -> str:
    return f"\\{sign[0]}" if sign[0] in '"\\' else f"\\u{ord(sign[0]):04x}"


def _value(text: str, at: int) -> tuple[int, int, int] | None:
    """Start and end of the value at a position, and where it has ended with its quotes."""
    if string := _STRING.match(text, at):
        return *string.span(string.lastindex or 1), string.end()
    if text[at : at + 1] in ("[", "{"):
        try:
            end = json.JSONDecoder().raw_decode(text, at)[1]
        except (ValueError, RecursionError):
            return None
        return at, end, end
    word = _WORD.match(text, at)
    if word is None or word[0].strip() in _NOTHING:
        return None
    stop = at + len(word[0].rstrip())
    return at, stop, stop
