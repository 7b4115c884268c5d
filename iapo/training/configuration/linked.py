"""Parameters of an estimator that follow from other settings, as `add_component_flags` links them: not to be given."""

import re
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from typing import Any

_LINKED = {"temperature": "--sampler.temperature", "postfix_ids": "--postfix", "closing_ids": "--closing"}
"""The parameters, and the flag that each follows from."""
_LINKED_FLAG = re.compile(rf"--estimator(?:\.init_args|\.estimator)*\.({'|'.join(_LINKED)})")


def refuse_linked_flags(arguments: Sequence[str]) -> None:
    """Raise ``ArgumentError`` for a flag of the estimator whose value follows from another flag, and would be ignored.

    Args:
        arguments: of the command line.
    """
    for argument in arguments:
        if match := _LINKED_FLAG.fullmatch(argument.partition("=")[0]):
            raise ArgumentError(None, _told(match[0], match[1]))


def linked_setting(settings: Mapping[str, Any]) -> str:
    """What is wrong with settings of a file that give such a parameter; empty if none does.

    Args:
        settings: as the file has them.
    """
    place, estimator = "estimator", settings.get("estimator")
    while isinstance(estimator, Mapping):
        given = estimator.get("init_args")
        given = given if isinstance(given, Mapping) else {}
        if name := next(filter(given.__contains__, _LINKED), None):
            return _told(f"{place}.{name}", name)
        place, estimator = f"{place}.estimator", given.get("estimator")
    return ""


def _told(place: str, name: str) -> str:
    return f"{place}: follows from {_LINKED[name]}; leave it out, and give {_LINKED[name]}"
