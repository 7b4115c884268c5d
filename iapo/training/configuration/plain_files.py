"""Components from plain files: `my_file.py:Name` wherever an import path may stand, on the command line and in YAML.

The file is loaded as a module whose name says the file, so that its import path leads back to it: settings that are
written down name the file by its absolute path, and any process that reads them finds it again.
"""

import hashlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml  # type: ignore[import-untyped]

_NAMED = re.compile(r"(?P<file>[^:\n]+\.py):(?P<name>[A-Za-z_][\w.]*)")
_SOURCE = re.compile(r"[^:\n]{1,200}\.py")
_MODULE = re.compile(r"\b(?P<module>iapo_file_\w+_[0-9a-f]{12})\.(?P<name>[A-Za-z_][\w.]*)")
_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_UNWANTED = re.compile(r"""["'\\#:\n]|^\s|\s$""")


def import_path(text: str) -> str:
    """The import path of what ``my_file.py:Name`` names, whose file is loaded; any other text as it is.

    Raises:
        ValueError: the file is not there, cannot be loaded (its own error and line are named), or has no such name.
    """
    match = _NAMED.fullmatch(text)
    if match is None:
        return text
    path = Path(match["file"]).expanduser().resolve()
    if not path.is_file():
        raise ValueError(f"{text}: no file {path}")
    if _UNWANTED.search(str(path)):
        raise ValueError(f"{text}: want a path without quotes, backslash, colon and #, so that settings can name it")
    module = _load(path)
    name = match["name"]
    if not hasattr(module, name.partition(".")[0]):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        raise ValueError(f"{text}: {path.name} has no {name!r}, it has {sorted(own)}")
    return f"{module.__name__}.{name}"


def to_import_paths(settings: Any) -> Any:
    """Plain data with the import path in place of every text ``my_file.py:Name``; one reward gets its own name."""
    if isinstance(settings, Mapping):
        named = {key: to_import_paths(value) for key, value in settings.items()}
        return {**named, "rewards": _by_name(named["rewards"])} if "rewards" in named else named
    if isinstance(settings, list):
        return [to_import_paths(value) for value in settings]
    return import_path(settings) if isinstance(settings, str) else settings


def arguments_to_import_paths(arguments: Sequence[str]) -> list[str]:
    """Command-line arguments with import paths in place of ``my_file.py:Name``; ``--rewards NAME`` names one reward."""
    found = []
    for index, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        owner = flag or (arguments[index - 1] if index else "")
        if flag and not equals:
            found.append(argument)
            continue
        plain = import_path(value)
        if owner == "--rewards" and isinstance(rewards := _by_name(plain), Mapping):
            plain = yaml.safe_dump(rewards, default_flow_style=True).strip()
        found.append(flag + equals + plain)
    return found


def to_files(text: str) -> str:
    """A text of settings with files, by their absolute paths, in place of the modules that they were loaded as."""

    def file_of(match: re.Match[str]) -> str:
        module = sys.modules.get(match["module"])
        return match[0] if module is None else f"{module.__file__}:{match['name']}"

    return _MODULE.sub(file_of, text)


def digests(settings: Any) -> dict[str, str]:
    """SHA-256 of every source file that settings name, and of those that are loaded from beside a component's, by path.

    A file is named by a component of it, ``my_file.py:Name``, or by itself, as `iapo.rewards.IsolatedReward` has it.
    """
    texts = list(_texts(settings))
    own = {match["file"] for text in texts if (match := _NAMED.fullmatch(text))}
    folders = {Path(file).parent for file in own}
    loaded = {str(getattr(module, "__file__", None)) for module in list(sys.modules.values())} if folders else set()
    beside = {file for file in loaded if Path(file).parent in folders}
    alone = {text for text in texts if _SOURCE.fullmatch(text) and os.path.isfile(os.path.expanduser(text))}

    def digest(file: str) -> str:
        return hashlib.sha256(Path(os.path.expanduser(file)).read_bytes()).hexdigest()

    return {file: digest(file) for file in sorted(own | beside | alone)}


def _texts(settings: Any) -> Iterator[str]:
    """All texts in settings."""
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, Mapping | list):
        for each in settings.values() if isinstance(settings, Mapping) else settings:
            yield from _texts(each)


def _by_name(rewards: Any) -> Any:
    """Rewards by name; of a text that names one reward, its last part is the name."""
    if not isinstance(rewards, str) or not _IMPORT_PATH.fullmatch(rewards):
        return rewards
    return {rewards.rpartition(".")[2]: rewards}


def _load(path: Path) -> ModuleType:
    stem = re.sub(r"\W", "_", path.stem)
    digest = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()  # a file that changed is loaded again
    name = f"iapo_file_{stem}_{digest[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # what the file imports may lie beside it, as for a script
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = (
            error.lineno
            if isinstance(error, SyntaxError) and error.filename == str(path)
            else next(reversed(lines), None)
        )
        reason = error.msg if isinstance(error, SyntaxError) else error
        place = str(path) if line is None else f"{path}, line {line}"
        raise ValueError(f"{place}: {type(error).__name__}: {reason}") from error
    return module
