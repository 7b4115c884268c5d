"""The style of a run in its ``config.json``: written as plain data, and read back."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import Any

from iapo.ops.json_files import read_json_file
from iapo.styles import AnswerStyle, CompletionStyle, ReasoningStyle, Steps
from iapo.training.checkpoints.checkpoint import checkpoints, load_checkpoint
from iapo.training.configuration.styles import StyleSource


def kept_style(folder: Path, settings: Mapping[str, Any]) -> CompletionStyle | None:
    """The style that a run keeps in its ``config.json``; ``None`` without one, or if these settings ask for another.

    If the file is gone, the newest checkpoint says what it had.

    Args:
        folder: of the run.
        settings: as plain data, of the run that goes on.

    Raises:
        ImportError: the file names a class that is not there, or cannot be imported.
        ValueError: the file is damaged, or names a class that is no style.
    """
    path = folder / "config.json"
    if path.exists():
        try:
            return _kept_in(read_json_file(path), settings)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = error.__cause__ or error
            raise ValueError(
                f"{path}: is damaged ({type(reason).__name__}: {reason}), want the settings of the run as it wrote "
                "them; remove the file to go on from the newest checkpoint, which has them too"
            ) from error
    return _kept_in(load_checkpoint(folder, override=True).state.config, settings) if checkpoints(folder) else None


def _kept_in(kept: Mapping[str, Any], settings: Mapping[str, Any]) -> CompletionStyle | None:
    """The style in the settings of a run."""
    same = all(kept.get(field.name) == settings.get(field.name) for field in dataclasses.fields(StyleSource))
    style = from_plain(kept["style"]) if same and "style" in kept else None
    if not isinstance(style, CompletionStyle | None):
        raise TypeError(f"style is {style!r}")
    return style


def plain(part: Any) -> Any:
    """A style as plain data, for a run's configuration: class paths and their arguments."""
    if isinstance(part, tuple):
        return [plain(each) for each in part]
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        return part
    arguments = {field.name: plain(getattr(part, field.name)) for field in dataclasses.fields(part)}
    return {"class_path": f"{type(part).__module__}.{type(part).__qualname__}", "init_args": arguments}


def from_plain(content: Any) -> Any:
    """The style that `plain` wrote.

    Raises:
        ImportError: a class that is not there, or cannot be imported.
        ValueError: a class that is no style.
    """
    if isinstance(content, list):
        return tuple(from_plain(each) for each in content)
    if not isinstance(content, Mapping):
        return content
    reason = "put it back where it was"
    try:
        kind = locate(content["class_path"])
    except ErrorDuringImport as error:
        kind, reason = None, f"{type(error.value).__name__}: {error.value}"
    if kind is None:
        raise ImportError(f"style: the run was made with {content['class_path']}, which cannot be imported; {reason}")
    if not isinstance(kind, type) or not issubclass(kind, AnswerStyle | ReasoningStyle | CompletionStyle | Steps):
        raise ValueError(f"style: {content['class_path']} is no style; the run's config.json names it")
    return kind(**{name: from_plain(value) for name, value in content["init_args"].items()})
