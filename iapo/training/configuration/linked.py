"""Parameters of an estimator that follow from other settings, as `add_component_flags` links them: not to be given."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]

_LINKED = {"temperature": "--sampler.temperature", "postfix_ids": "--postfix", "closing_ids": "--closing"}
"""The parameters, and the flag that each follows from."""
_LINKED_FLAG = re.compile(rf"--estimator(?:\.init_args|\.estimator)*\.({'|'.join(_LINKED)})")


def linked_flag(arguments: Sequence[str]) -> str:
    """What is wrong with flags that give such a parameter, which would be ignored; empty if none does.

    Args:
        arguments: of the command line.
    """
    for argument in arguments:
        flag, _, value = argument.partition("=")
        if match := _LINKED_FLAG.fullmatch(flag):
            return _told(flag, match[1])
        if flag == "--estimator" and value.startswith("{") and (reason := linked_setting(_read(value))):
            return reason
    return ""


def linked_setting(estimator: Any) -> str:
    """What is wrong with an estimator's settings that give such a parameter; empty if none does.

    Args:
        estimator: a class path, or a mapping with ``class_path`` and ``init_args``.
    """
    place = "estimator"
    while isinstance(estimator, Mapping):
        given = estimator.get("init_args")
        given = given if isinstance(given, Mapping) else {}
        if name := next(filter(given.__contains__, _LINKED), None):
            return _told(f"{place}.{name}", name)
        place, estimator = f"{place}.estimator", given.get("estimator")
    return ""


def _read(value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return None  # which the parser tells


def _told(place: str, name: str) -> str:
    return f"{place}: follows from {_LINKED[name]}; leave it out, and give {_LINKED[name]}"
