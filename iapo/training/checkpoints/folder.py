"""Folders that are complete or not there: written aside, flushed to the disk, listed with digests, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from iapo.ops.json_files import read_json_file, read_sealed, sealed
from iapo.ops.text_files import TEMPORARY, file_digest, flush

MANIFEST = "manifest.json"
_LOADED = (
    *("config.json", "generation_config.json", "model*.safetensors*", "pytorch_model*", "adapter_*"),
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model"),
    *("chat_template*", "additional_chat_templates/*"),
)
"""Names of files that transformers, PEFT or a tokenizer would load, whoever wrote them."""
_LONGEST_NAME, _DEEPEST = 200, 8
"""Bytes of a file's name and folders on the way to it, at most: far more than any checkpoint has."""


class DamagedCheckpointError(ValueError):
    """A folder that is not what was once written there; the message names the file."""


@contextmanager
def write_folder(target: Path, format_version: int) -> Iterator[Path]:
    """Fill a folder that appears under its name only when it is complete and on the disk.

    Order: files, their flush (``fsync``), the manifest and its flush, the folder's flush, the rename, the flush of the
    folder above. If the block or a write fails, what was written is removed.

    Args:
        target: where the folder is to be; must not exist.
        format_version: written into the manifest.

    Yields:
        The temporary folder beside ``target`` to write into.
    """
    temporary = target.with_name(target.name + TEMPORARY)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        names = sorted(path.relative_to(temporary).as_posix() for path in temporary.rglob("*") if path.is_file())
        for name in names:
            flush(temporary / name)
        digests = {name: file_digest(temporary / name) for name in names}
        (temporary / MANIFEST).write_text(sealed({"format": format_version, "files": digests}), encoding="utf-8")
        flush(temporary / MANIFEST)
        for folder in [*(path for path in temporary.rglob("*") if path.is_dir()), temporary]:
            flush(folder)
        os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    flush(target.parent)


def discard_folder(folder: Path) -> None:
    """Remove a folder; a process that dies on the way leaves a temporary one, never a part under the old name."""
    temporary = folder.with_name(folder.name + TEMPORARY)
    shutil.rmtree(temporary, ignore_errors=True)
    os.rename(folder, temporary)
    shutil.rmtree(temporary)


def verify_folder(folder: Path, format_version: int) -> None:
    """Compare a folder with its manifest, byte for byte.

    Args:
        folder: written by `write_folder`.
        format_version: the newest format that the caller reads.

    Raises:
        DamagedCheckpointError: a missing, truncated or changed file, one that was added and would be read, a link, a
            name that leads out of the folder.
        ValueError: a newer format.
    """
    inside = list(folder.rglob("*"))
    linked = [path for path in (folder, *inside) if path.is_symlink()]
    if linked:
        raise DamagedCheckpointError(f"{linked[0]}: is a symbolic link, want files only")
    manifest = _read_manifest(folder / MANIFEST)
    found = manifest.get("format")
    if type(found) is int and found < 1:
        raise DamagedCheckpointError(f"{folder / MANIFEST}: its format is {found}, want at least 1")
    if type(found) is not int or found > format_version:
        raise ValueError(
            f"{folder}: its format is {found}, this version of iapo reads up to {format_version}; use a newer iapo"
        )
    for name, expected in manifest["files"].items():
        if not is_plain(name):
            raise DamagedCheckpointError(f"{folder / MANIFEST}: lists {name!r}, which is no name inside the folder")
        if not (folder / name).is_file():
            raise DamagedCheckpointError(f"{folder / name}: is missing")
        try:
            intact = file_digest(folder / name) == expected
        except OSError as error:
            raise DamagedCheckpointError(f"{folder / name}: cannot be read ({error.strerror})") from error
        if not intact:
            raise DamagedCheckpointError(f"{folder / name}: is damaged, its content is not what was written (SHA-256)")
    names = {path.relative_to(folder).as_posix() for path in inside if path.is_file()}
    for name in sorted(names - manifest["files"].keys()):
        if any(fnmatch(name, pattern) for pattern in _LOADED):
            raise DamagedCheckpointError(f"{folder / name}: was added, and would be loaded; move it elsewhere")
    for index in folder.glob("*.index.json"):
        try:
            shards = list(read_json_file(index)["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise DamagedCheckpointError(f"{index}: is no index of weights ({type(error).__name__})") from error
        strangers = [shard for shard in shards if not isinstance(shard, str) or shard not in manifest["files"]]
        if strangers:
            raise DamagedCheckpointError(f"{index}: names {strangers[0]!r}, which the manifest does not list")


def is_plain(name: str) -> bool:
    """Whether a name leads to a place inside a folder: relative, printable, without ``..``, drive or backslash.

    Example:
        >>> [is_plain(name) for name in ("a.json", "a/b.json", "../a", "/a", "", "a//b", "c:a")]
        [True, True, False, False, False, False, False]
    """
    parts = name.split("/")
    return (
        not any(part in ("", ".", "..") or len(part.encode("utf-8", "replace")) > _LONGEST_NAME for part in parts)
        and len(parts) <= _DEEPEST
        and name.isprintable()
        and not set(name) & set("\\:")
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    """The manifest's content, after a check against its own digest."""
    if not path.is_file():
        raise DamagedCheckpointError(f"{path}: is missing")
    try:
        content = read_sealed(path)
    except (ValueError, OSError) as error:
        raise DamagedCheckpointError(str(error)) from error
    if not isinstance(content.get("files"), dict):
        raise DamagedCheckpointError(f"{path}: is damaged or of something else, it lists no files")
    return content
