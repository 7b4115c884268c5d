"""The parser of all commands: jsonargparse's, which also takes components from plain files.

A component that takes the place of another starts from its own defaults.
"""

import inspect
import sys
from collections.abc import Sequence
from pydoc import locate
from typing import Any, NoReturn
from unittest.mock import patch

import yaml  # type: ignore[import-untyped]
from jsonargparse import ArgumentParser, Namespace, _typehints, get_loader, set_dumper, set_loader

from iapo.training.plain_files import arguments_to_import_paths, to_files, to_import_paths
from iapo.training.shipped import shipped_path

_MODE = "iapo"


class FileParser(ArgumentParser):
    """Reads ``my_file.py:Name`` wherever an import path may stand, and writes it so when settings are dumped."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"parser_mode": _MODE, **kwargs})

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Namespace:  # type: ignore[override]
        """Parse arguments; those of this process by default."""
        try:
            given = arguments_to_import_paths(_with_paths(sys.argv[1:] if args is None else args))
        except ValueError as error:
            self.error(str(error), error)
        with patch.object(_typehints, _DISCARD.__name__, _start_afresh):
            return super().parse_args(given, *rest, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """End with a message that names files, not modules."""
        super().error(to_files(message), ex)

    def dump(self, *args: Any, **options: Any) -> str:
        """Settings as text, with files in place of the modules that they were loaded as."""
        return to_files(super().dump(*args, **options))


def _with_paths(arguments: Sequence[str]) -> list[str]:
    """Arguments with the path of a file of settings in place of its name, ``iapo://NAME``."""
    found = []
    for argument in arguments:
        flag, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        found.append(flag + equals + shipped_path(value))
    return found


def _start_afresh(parser: Any, before: Any, now: Any) -> None:
    """Forget the arguments of a class that another takes the place of, but for those that the other must have.

    jsonargparse keeps all that the other has too, and means those that were never given as well: the other class would
    silently get the defaults of the one before. It has no public way to say so.
    """
    if before and "init_args" in before and _class_of(before) != _class_of(now):
        parameters = inspect.signature(_class_of(now)).parameters
        for name in {name.partition(".")[0] for name, _ in before["init_args"].items()}:
            if name not in parameters or parameters[name].default is not inspect.Parameter.empty:
                del before["init_args"][name]
    _DISCARD(parser, before, now)


_DISCARD = _typehints.discard_init_args_on_class_path_change


def _class_of(component: Any) -> Any:
    return locate(component["class_path"])


def _load(text: str) -> Any:
    """YAML with import paths in place of files."""
    return to_import_paths(get_loader("yaml")(text))


def _dump(data: Any) -> str:
    return str(yaml.safe_dump(data, default_flow_style=False, allow_unicode=True, sort_keys=False))


set_loader(_MODE, _load, (yaml.YAMLError, ValueError))
set_dumper(_MODE, _dump)
