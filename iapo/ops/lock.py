"""One process at a time in a folder, by a lock that the kernel releases when its holder dies."""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iapo.ops.text_files import check_is_text, writing

_TRIES = 1000
"""Times that a folder may come or go while it is made; in a place such as /proc none can ever be made."""

LOCK = ".lock"
"""The locked file in a folder; it holds the process id of who locked it last."""


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold a folder for this process, and for those that inherit the descriptor it yields.

    The lock is the kernel's (``flock``): it ends with the last process that holds the descriptor, however that dies.
    The folder is made if it is not there, and goes again if nothing was put into it.

    Args:
        folder: that nobody else may work in.

    Raises:
        OSError: another process holds it (its id is named), or the folder cannot be made or written.
        ValueError: its name has bytes that are no UTF-8.
    """
    check_is_text("output", folder)
    missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    descriptor = _lock(folder)
    try:
        with writing(folder / LOCK):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        with contextlib.suppress(OSError):
            check_held(folder, descriptor)
            if missing and [path.name for path in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
                for path in missing:
                    path.rmdir()
        os.close(descriptor)


def check_held(folder: Path, descriptor: int) -> None:
    """Raise ``FileNotFoundError`` unless the folder, and the locked file in it, are those that were locked.

    Whatever has its name now may be another process's.

    Args:
        folder: that `locked` holds.
        descriptor: what `locked` yields.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if os.path.samestat(os.fstat(descriptor), (folder / LOCK).lstat()):
            return
    raise FileNotFoundError(
        f"output: {folder} was moved, removed, emptied or replaced while this process was at work in it, so that it "
        "writes nothing more there; what is saved goes on where it is now"
    )


def _lock(folder: Path) -> int:
    """The locked descriptor of the file that is in the folder now: another process may just have removed the folder."""
    path = folder / LOCK
    attempt = 0
    while True:
        attempt += 1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if path.is_fifo():
                raise OSError(errno.EINVAL, "Is a named pipe", str(path))
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            went = isinstance(error, FileNotFoundError)
            came = isinstance(error, FileExistsError) and _came_or_went(error.filename)
            if attempt < _TRIES and (went or came):
                continue
            raise OSError(
                f"output: {folder} cannot be used ({error.strerror}: {error.filename}); want a folder that can be "
                "written, name another"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
            os.close(descriptor)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise BlockingIOError(
                f"output: process {holder}, or one that it started, is at work in {folder}; wait, end it, or name "
                "another folder"
            ) from error
        except BaseException:
            os.close(descriptor)
            raise


def _came_or_went(path: str) -> bool:
    """Whether a folder that could not be made was in the way when it was to be made, and may be made or used now."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return True
