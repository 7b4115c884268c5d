"""The letter of an option that an answer chooses."""

import re
from dataclasses import dataclass, field
from typing import Any

_CHOICE = re.compile(
    r"(?i:(?:the\s+|answer\s+)?(?:option|choice|answer|letter)\s+|i(?:\s+would|'d)?\s+(?:choose|pick|select|go\s+with)\s+)?"
    r"(?:[(\[{<](?P<round>[A-Za-z])[)\]}>]|(?P<letter>[A-Z])(?=$|[).:、]|!+$|\s+(?:-\s+(?=[a-z])|\()(?!(?:and|nor|not|but)\b.*\b[A-Z]\b)[A-Za-z]{3})"
    r"|(?P<low>[a-z])\)"
    r"|(?P<said>[A-Z])(?=\s+is\s+(?:the\s+)?(?:correct|right)(?:\s+(?:answer|option|choice|one))?\.?$))"
    r"(?P<rest>[).:、!]*(?:\s+.*)?)",
)
_HEDGED = re.compile(
    r"\s*[).:]*\s*(?:or|and|nor|,|/|&|not)\b|\s*[).:]*\s*[,/&]"
    r"|:.*[,;]\s*(?:and\s+)?[A-Z]:|[^,;]*[,;]\s*(?:and\s+)?\([A-Za-z]\)\s*\S|\s*\)?\s*(?:is|was)\s+(?:wrong|incorrect|ruled\s+out|not\s+(?:correct|right|the\b.*\banswer))\b"
)
"""Behind a letter: another one, or what takes it back."""


@dataclass(frozen=True)
class Choice:
    """The letter of an option.

    Args:
        letter: a capital one.
        said: what stands behind it, each way to read that.
    """

    letter: str
    said: tuple[Any, ...] = field(default=(), compare=False)


def read_choice(text: str) -> Choice | None:
    """The letter of a choice: ``B``, ``(B)``, ``Option B``, ``B. 12``; ``None`` if the text is none or names two.

    Example:
        >>> read_choice("(b) 12"), read_choice("B or C"), read_choice("Bob")
        (Choice(letter='B', said=()), None, None)
    """
    found = _CHOICE.fullmatch(text)
    if found is None or _HEDGED.match(found["rest"]):
        return None
    return Choice((found["round"] or found["letter"] or found["low"] or found["said"]).upper())
