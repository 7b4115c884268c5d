"""Values of a comparison file, checked; messages name the key."""

from collections.abc import Mapping, Sequence
from typing import Any


def mapping(content: Any, where: str) -> Mapping[str, Any]:
    """Keys and values; ``ValueError`` for anything else."""
    if not isinstance(content, dict):
        raise ValueError(f"{where}: got {type(content).__name__}, want keys and values")
    return content


def section(content: Any, where: str, known: Sequence[str]) -> Mapping[str, Any]:
    """Keys and values whose keys are all ``known``; ``ValueError`` for anything else."""
    found = mapping(content, where)
    for key in found:
        if key not in known:
            raise ValueError(f"{where}.{key}: unknown key, want one of {', '.join(known)}")
    return found


def check_plain(content: Any, where: str = "", above: tuple[int, ...] = ()) -> None:
    """Raise ``ValueError`` for a value that a setting cannot have, such as a date of YAML's; its key is named.

    Args:
        content: of a comparison file, or a part of it.
        where: the key that it stands under.
        above: what it is a part of, by identity: YAML can name a list inside of itself.
    """
    if id(content) in above:
        raise ValueError(f"{where}: is inside of itself, want no anchor that is named below itself")
    if isinstance(content, dict | list):
        parts = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in parts:
            check_plain(value, f"{where}.{key}" if where else str(key), (*above, id(content)))
    elif not isinstance(content, str | bool | int | float | None):
        raise ValueError(f"{where}: got {content!r}, want a text (in quotes), a number, true, false, null, or a list")


def seed_list(content: Any, where: str) -> tuple[int, ...]:
    """At least one seed, each once; ``ValueError`` for anything else."""
    if not isinstance(content, list) or not content or any(not _is_seed(seed) or seed < 0 for seed in content):
        raise ValueError(f"{where}: got {content!r}, want a list of at least one seed, integers from 0 to below 2^63")
    if len(set(content)) < len(content):
        raise ValueError(f"{where}: got {content}, want every seed once")
    return tuple(content)


def one_seed(content: Any, where: str) -> int:
    """A seed, as torch's generators take it; ``ValueError`` for anything else."""
    if not _is_seed(content):
        raise ValueError(f"{where}: got {content!r}, want an integer from -2^63 to below 2^63")
    return int(content)


def _is_seed(content: Any) -> bool:
    return type(content) is int and -(2**63) <= content < 2**63


def positive(content: Any, where: str) -> int:
    """An integer of at least 1; ``ValueError`` for anything else."""
    if type(content) is not int or content < 1:
        raise ValueError(f"{where}: got {content!r}, want an integer of at least 1")
    return int(content)
