"""Which way an amount goes: up or down, east or west; two answers that say another do not say the same."""

import re

_SENSES = {
    **{"more": "more", "extra": "more", "fewer": "fewer", "less": "fewer"},
    **{
        word: word for word in ("north", "south", "east", "west", "clockwise", "counterclockwise", "upward", "downward")
    },
    **dict.fromkeys(("increase", "increases", "increased", "rise", "rises", "rose", "gain", "profit"), "increase"),
    **dict.fromkeys(
        ("decrease", "decreases", "decreased", "drop", "drops", "dropped", "fall", "falls", "fell"), "decrease"
    ),
    **dict.fromkeys(("loss", "lost", "reduction", "decline", "declined", "discount"), "decrease"),
}
"""Words by the sense that they have in common."""


def senses_of(text: str) -> frozenset[str]:
    """The senses that the words of a text say.

    Example:
        >>> sorted(senses_of("It fell by 5 m to the east")), senses_of("5 m")
        (['decrease', 'east'], frozenset())
    """
    return frozenset(_SENSES[word] for word in re.findall("[a-z]+", text.lower()) if word in _SENSES)
