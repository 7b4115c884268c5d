"""Suggestions for a misspelled name, for error messages."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(given: str, known: Iterable[str], prefix: str = "") -> str:
    """`; did you mean ...` with the names, at most three, that are spelled similarly or begin so; empty if none is.

    Args:
        given: the name that is unknown; upper and lower case count the same.
        known: all names that there are.
        prefix: put in front of each name in the message.

    Example:
        >>> did_you_mean("stesp", ["steps", "seed"], "--")
        '; did you mean --steps?'
    """
    by_lower = {name.lower(): name for name in known}
    near = get_close_matches(given.lower(), by_lower, n=3, cutoff=0.55)
    near += [name for name in by_lower if name not in near and len(given) > 3 and name.startswith(given.lower())][:3]
    return f"; did you mean {' or '.join(prefix + by_lower[name] for name in near[:3])}?" if near else ""
