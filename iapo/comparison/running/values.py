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


def seed_list(content: Any, where: str) -> tuple[int, ...]:
    """At least one seed, each once; ``ValueError`` for anything else."""
    if not isinstance(content, list) or not content or any(type(seed) is not int or seed < 0 for seed in content):
        raise ValueError(f"{where}: got {content!r}, want a list of at least one seed, integers of at least 0")
    if len(set(content)) < len(content):
        raise ValueError(f"{where}: got {content}, want every seed once")
    return tuple(content)


def positive(content: Any, where: str) -> int:
    """An integer of at least 1; ``ValueError`` for anything else."""
    if type(content) is not int or content < 1:
        raise ValueError(f"{where}: got {content!r}, want an integer of at least 1")
    return int(content)
