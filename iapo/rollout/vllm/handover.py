"""Files by which weights are handed to another process, each in a folder that one process has at a time."""

import fcntl
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from safetensors.torch import save_file
from torch import Tensor

from iapo.ops.tensor_files import failed_writes_named, follow_umask


@contextmanager
def written(weights: Mapping[str, Tensor], folder: Path, remedy: str) -> Iterator[Path]:
    """A safetensors file of the weights, alone in a folder; both are gone after the block.

    What a process that was killed has left in the folder goes first, also the file that it had not finished.

    Args:
        weights: by name.
        folder: that no other process uses meanwhile.
        remedy: what to do if it cannot be written.

    Raises:
        OSError: a write failed (disk full).
    """
    if folder.exists():
        shutil.rmtree(folder)
    try:
        folder.mkdir()
        path = folder / "policy.safetensors"
        with failed_writes_named(folder, remedy):
            # Copies: a file holds no tensors that share memory.
            save_file({name: value.to("cpu", copy=True).contiguous() for name, value in weights.items()}, path)
            follow_umask(folder)
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def free_folder() -> Iterator[Path]:
    """A folder for temporary files that no other process has: the first of a row that is free.

    So the next process gets that of one that was killed, and what it left there.

    Raises:
        OSError: there can be none.
    """
    row = Path(tempfile.gettempdir()) / f"iapo-engines-{os.getuid()}"
    for number in itertools.count():
        try:
            row.mkdir(mode=0o700, exist_ok=True)
            lock = locked_file(row / f"{number}.lock", wait=False)
        except BlockingIOError:
            continue
        except OSError as error:
            raise OSError(
                f"{row}: cannot be used for temporary files ({error.strerror}); name a folder that can be written, on "
                "a file system that has locks (TMPDIR)"
            ) from error
        with lock:
            yield row / str(number)
        return


def locked_file(path: Path, wait: bool = True) -> IO[Any]:
    """An open file that this process has locked; the kernel releases it when it is closed, or its holder dies.

    Args:
        path: of the file; made if it is not there.
        wait: for a process that has locked it.

    Raises:
        BlockingIOError: another process has locked it, and is not waited for.
        OSError: it cannot be written, or the file system has no locks.
    """
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        file.close()
        raise
    return file
