"""Text files that are complete or as they were before, whenever the process dies, and read as files alone."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp"
"""What the name of a file or folder ends with while it is being written."""

_NO_FILES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""What may have the name of a file, by the type in its mode."""


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        OSError: it cannot be read, or is something else than a file: who reads a named pipe waits for its writer, and a
            device may never end.
    """
    _refuse_others(path)
    return path.read_bytes()


def file_digest(path: Path) -> str:
    """SHA-256 of a file of any size, by which it is known again.

    Raises:
        OSError: as `read_bytes`.
    """
    _refuse_others(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: Path, errors: str = "strict") -> str:
    """The content of a file as text in UTF-8.

    Args:
        path: of the file.
        errors: what becomes of bytes that are no UTF-8, as `bytes.decode` has it.

    Raises:
        OSError: as `read_bytes` does.
        UnicodeDecodeError: it is no UTF-8, and ``errors`` is ``strict``.
    """
    return read_bytes(path).decode("utf-8", errors)


def write_text(path: Path, text: str) -> None:
    """Write a file that is complete or as it was before, whenever the process dies.

    Lone surrogates, as names of files have them for bytes that are no UTF-8, are written as JSON escapes them.

    Raises:
        OSError: a write failed (disk full); it names the file, and what was written is removed.
    """
    partial = path.with_name(path.name + TEMPORARY)
    try:
        with writing(path):
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
            flush(partial)
            os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let an error of a write name the file: the system names what it opens, that of `write_text` for a while, and none
    where it writes.
    """
    try:
        yield
    except OSError as error:
        temporary = str(error.filename) == f"{path}{TEMPORARY}" and error.filename2 is None
        if error.filename is None or temporary:
            error.filename = str(path)
        raise


def check_is_text(name: str, path: str | Path) -> None:
    """Raise ``ValueError`` for a path with bytes that are no UTF-8: tokenizers cannot be written there.

    Args:
        name: of the setting, for the message.
        path: as Python has it, a lone surrogate for each such byte.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name}: got {str(path)!r}, which has bytes that are no UTF-8, want a folder of another name (or a locale "
            "that reads this one, as LC_ALL=C.UTF-8 does)"
        ) from error


def check_writable(name: str, path: str) -> None:
    """Raise ``OSError`` unless a file can be written there, before the work whose results it is to hold.

    Something else that is there, such as a named pipe, would be replaced by the file.

    Args:
        name: of the setting, for the message.
        path: of the file.
    """
    try:
        if os.path.exists(path) and (kind := _other_kind(Path(path))):
            raise OSError(errno.EINVAL, f"it is {kind}")
        write_text(Path(f"{path}.check"), "")
        os.unlink(f"{path}.check")
    except OSError as error:
        raise OSError(
            f"{name}: cannot write {path} ({error.strerror}); want a file in a folder that is there and can be written"
        ) from error


def _refuse_others(path: Path) -> None:
    if kind := _other_kind(path):
        raise OSError(f"{path}: is {kind}, want a file; put the file back, or remove what has its name")


def _other_kind(path: Path) -> str | None:
    """What has the name of a file, if it is none."""
    return _NO_FILES.get(stat.S_IFMT(path.stat().st_mode))


def flush(path: Path) -> None:
    """Wait until what was written of a file or a folder's list of names is on the disk (``fsync``)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
