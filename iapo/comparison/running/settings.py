"""Settings of `iapo train` from mappings, resolved and checked by the command's own parser."""

import argparse
import json
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jsonargparse import ArgumentParser

from iapo.training.configuration.parser import train_parser, without_link
from iapo.training.configuration.parser_errors import readable_error
from iapo.training.configuration.setting_errors import untyped

Settings = Mapping[str, Any]

SET_BY_COMPARE = ("config", "output", "resume", "override", "seed")
"""Flags of `iapo train` that a comparison sets for each run."""


def flags(settings: Settings, where: str) -> list[str]:
    """Settings as flags of the command line, in their order.

    Args:
        settings: name (dotted or not) to value; values that are not text are written as JSON.
        where: the key that they stand under, for messages.

    Raises:
        ValueError: a setting that the comparison itself sets.

    Example:
        >>> flags({"steps": 3, "assigner": "GroupRelative", "limit": None}, "base")
        ['--steps=3', '--assigner=GroupRelative', '--limit=null']
    """
    for name in SET_BY_COMPARE:
        if name in settings:
            raise ValueError(f"{where}.{name}: a comparison sets it for each run, want it left out")
    return [f"--{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in settings.items()]


def resolve(arguments: Sequence[str], where: str) -> dict[str, Any]:
    """All settings of `iapo train` after these flags, as plain data, without those that a comparison sets.

    Every component is made once, so that values out of range are found here.

    Args:
        arguments: flags; later ones override.
        where: the key that they come from, for messages.

    Raises:
        ValueError: a flag that is unknown or a value that does not fit; the flag and ``where`` are named.
    """
    parser = _parser()
    try:
        parsed = parser.parse_args(list(arguments))
        parser.instantiate(parsed)
        with warnings.catch_warnings():
            # Newer versions of the parser call the argument skip_unset, older ones know this name alone.
            warnings.simplefilter("ignore", DeprecationWarning)
            plain = json.loads(parser.dump(parsed, format="json", skip_unset=False, skip_validation=True))
    except argparse.ArgumentError as error:
        raise ValueError(f"{where}: {without_link(readable_error(error, (), parser).message)}") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {untyped(str(error)) or without_link(str(error))}") from error
    return {name: value for name, value in plain.items() if name not in SET_BY_COMPARE}


def instantiate(settings: Settings) -> dict[str, Any]:
    """The parts of `iapo train` (sampler factory, rewards, ...) by name, from resolved settings."""
    parser = _parser()
    return dict(parser.instantiate(parser.parse_string(json.dumps(dict(settings)))).as_dict())


@cache
def _parser() -> ArgumentParser:
    """The parser of `iapo train`, made once: a comparison resolves dozens of settings. It raises instead of exiting."""
    parser = train_parser()
    parser.exit_on_error = False
    return parser
