"""All integers that leave the same remainder: ``n = 3 mod 7``, ``n = 7k + 3``."""

import re
from dataclasses import dataclass

_MOD = re.compile(r"(-?\d+) mod (\d+)")
_MULTIPLES = (
    re.compile(r"(?P<modulus>\d+)\s*\*?\s*(?P<letter>[a-z])(?:\s*(?P<remainder>[-+]\s*\d+))?"),
    re.compile(r"(?P<remainder>-?\d+)\s*\+\s*(?P<modulus>\d+)\s*\*?\s*(?P<letter>[a-z])"),
)


@dataclass(frozen=True)
class Congruence:
    """The integers that are congruent to one.

    Args:
        remainder: from 0 to ``modulus - 1``.
        modulus: what they are divided by.
    """

    remainder: int
    modulus: int


def read_congruence(text: str, integers: frozenset[str] = frozenset()) -> Congruence | None:
    """The integers of a text; ``None`` if it names none so.

    Args:
        text: in the notation of `iapo.rewards.answers.notation.plain`.
        integers: letters that stand for any integer.

    Example:
        >>> read_congruence("-4 mod 7"), read_congruence("7k + 3", frozenset("k")), read_congruence("7k + 3")
        (Congruence(remainder=3, modulus=7), Congruence(remainder=3, modulus=7), None)
    """
    if (found := _MOD.fullmatch(text)) is not None:
        return _congruence(found[1], found[2])
    for pattern in _MULTIPLES:
        if (found := pattern.fullmatch(text)) is not None and found["letter"] in integers:
            return _congruence((found["remainder"] or "0").replace(" ", ""), found["modulus"])
    return None


def _congruence(remainder: str, modulus: str) -> Congruence | None:
    return Congruence(int(remainder) % int(modulus), int(modulus)) if int(modulus) else None
