"""The parser of all commands: jsonargparse's, which also takes components from plain files.

A component that takes the place of another starts from its own defaults, and a text is the text that was given.
"""

import inspect
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pydoc import locate
from typing import Any, NoReturn
from unittest.mock import patch

import yaml  # type: ignore[import-untyped]
from jsonargparse import ArgumentParser, Namespace, Path, _typehints, get_loader, set_dumper, set_loader

from iapo.training.configuration.linked import linked_flag, linked_setting
from iapo.training.configuration.plain_files import arguments_to_import_paths, to_files, to_import_paths
from iapo.training.configuration.shipped import shipped_path
from iapo.training.configuration.unique_keys import check_unique_keys
from iapo.training.configuration.wanted import kinds_of, wrong_kind

_MODE = "iapo"
_CHECK = _typehints.ActionTypeHint._check_type


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
        if reason := linked_flag(given):
            self.error(reason)
        with _as_iapo_reads():
            return super().parse_args(given, *rest, **options)

    def parse_string(self, content: str, *args: Any, **options: Any) -> Namespace:
        """Parse the text of a file of settings; one of an estimator that would be ignored is an error."""
        with _as_iapo_reads():
            parsed = super().parse_string(content, *args, **options)
        settings = _load(content)
        if isinstance(settings, dict) and (
            reason := linked_setting(settings.get("estimator")) or _not_for_all(self, settings)
        ):
            self.error(reason)
        return parsed

    def parse_object(self, settings: Any, *args: Any, **options: Any) -> Namespace:
        """Parse settings that are plain data already, as a part of another engine's configuration."""
        with _as_iapo_reads():
            return super().parse_object(to_import_paths(settings), *args, **options)

    def instantiate(self, *args: Any, **options: Any) -> Namespace:
        """Make the components of parsed settings."""
        with _as_iapo_reads():
            return super().instantiate(*args, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """End with a message that names files, not modules."""
        super().error(to_files(message), ex)

    def dump(self, *args: Any, **options: Any) -> str:
        """Settings as text, with files in place of the modules that they were loaded as."""
        with _as_iapo_reads():
            return to_files(super().dump(*args, **options))


def _not_for_all(parser: ArgumentParser, settings: dict[str, Any], owner: str = "") -> str:
    """The first setting of a file that is ``null`` and may not be, or a group that is no mapping; empty: there is none.

    jsonargparse takes both without a look.
    """
    actions = {action.dest: action for action in parser._actions}
    for key, value in settings.items():
        name = f"{owner}{key}"
        hint = getattr(actions.get(name), "_typehint", None)
        if hint is None and any(dest.startswith(f"{name}.") for dest in actions):
            if not isinstance(value, dict):
                return f"{name}: got {'null' if value is None else value}, want a mapping of its parameters"
            reason = _not_for_all(parser, value, f"{name}.")
        else:
            takes_null = hint is None or type(None) in kinds_of(hint)
            reason = "" if value is not None or takes_null else f"{name}: {wrong_kind(hint, None)}"
        if reason:
            return reason
    return ""


@contextmanager
def _as_iapo_reads() -> Iterator[None]:
    """jsonargparse with what it has no public way for: components that start afresh, texts that are texts, and files
    that are files."""
    with (
        patch.object(_typehints, _DISCARD.__name__, _start_afresh),
        patch.object(_typehints.ActionTypeHint, _CHECK.__name__, _check),
        patch.object(_typehints, _READ.__name__, _read),
        patch.object(Path, _TEXT_OF.__name__, _text_of),
    ):
        yield


@wraps(_CHECK)  # jsonargparse looks at its signature
def _check(action: Any, value: Any, *rest: Any, **options: Any) -> Any:
    """A text for a setting that takes texts is that text: jsonargparse would read it as YAML, ``####`` as nothing.

    ``null`` is none, where that may be; where there may be several texts, a list is a list, and ``--NAME+`` adds to
    those that were given, of which the default is none.
    """
    hint = action._typehint
    try:
        return _checked(action, hint, value, *rest, **options)
    except TypeError as error:
        if reason := wrong_kind(hint, value):
            raise TypeError(f'Parser key "{action.dest}": {reason}') from error
        raise


def _checked(action: Any, hint: Any, value: Any, *rest: Any, **options: Any) -> Any:
    kinds = kinds_of(hint)
    if not isinstance(value, str) or str not in kinds or any(kind not in _TEXTS for kind in kinds):
        return _CHECK(action, value, *rest, **options)
    if value == "null" and type(None) in kinds:
        return None
    is_list = value.strip().startswith("[") and value.strip().endswith("]")
    several = is_list and any(kind not in (str, type(None)) for kind in kinds)
    found = _CHECK(action, value) if several else value
    before = options["cfg"].get(action.dest) if options.get("append") else action.default
    return found if before == action.default else [*_listed(before), *_listed(found)]


def _listed(texts: str | list[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else texts


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


def _read(value: Any, *rest: Any, **options: Any) -> Any:
    """The argument of a component's argument as it was given: the component's own parser knows what it has to be."""
    return (value, None) if isinstance(value, _typehints.NestedArg) else _READ(value, *rest, **options)


def _text_of(path: Path) -> str:
    """The text of a file of settings.

    Raises:
        ValueError: it is a pipe: one with a name may wait for its writer for ever, and that of a shell, ``<(...)``, is
            empty when settings are read again with the defaults that follow from the size of the model.
    """
    if os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode):
        raise ValueError(f"config: {path} is a pipe, want a file, which can be read twice")
    return str(_TEXT_OF(path))


_TEXTS = (str, type(None), list[str], tuple[str, ...])
"""What settings that take texts may be made of."""

_READ = _typehints.parse_value_or_config
_TEXT_OF = Path.read_text
_DISCARD = _typehints.discard_init_args_on_class_path_change


def _class_of(component: Any) -> Any:
    return locate(component["class_path"])


def _load(text: str) -> Any:
    """YAML with import paths in place of files.

    Raises:
        yaml.YAMLError: no YAML, or a key that is there twice.
    """
    check_unique_keys(text)
    return to_import_paths(get_loader("yaml")(text))


def _dump(data: Any) -> str:
    return str(yaml.safe_dump(data, default_flow_style=False, allow_unicode=True, sort_keys=False))


set_loader(_MODE, _load, (yaml.YAMLError, ValueError))
set_dumper(_MODE, _dump)
