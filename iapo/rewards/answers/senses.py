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


_RATE = re.compile(
    r"\b(?:per|an?|each|every)\s+(?P<each>year|annum|quarter|month|week|day|hour)\b"
    r"|\b(?P<often>annual|year|quarter|month|week|dai|hour)(?:ly|y)?\b",
    re.IGNORECASE,
)
_OFTEN = {"annum": "year", "annual": "year", "dai": "day"}


def rates_of(text: str) -> frozenset[str]:
    """How often a percentage is due, where the words of a text say so.

    Example:
        >>> rates_of("6% a year") == rates_of("6% annually"), rates_of("6% per month"), rates_of("6%")
        (True, frozenset({'month'}), frozenset())
    """
    return frozenset(
        _OFTEN.get(word, word) for found in _RATE.finditer(text.lower()) for word in found.groups() if word
    )


def senses_of(text: str) -> frozenset[str]:
    """The senses that the words of a text say.

    Example:
        >>> sorted(senses_of("It fell by 5 m to the east")), senses_of("5 m")
        (['decrease', 'east'], frozenset())
    """
    return frozenset(_SENSES[word] for word in re.findall("[a-z]+", text.lower()) if word in _SENSES)
