"""Files of tensors: what is said of one that could not be written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


@contextmanager
def failed_writes_named(path: Path, remedy: str) -> Iterator[None]:
    """A block that writes safetensors files; the library's own error of a write that failed becomes the system's.

    Args:
        path: of the file or folder that is written.
        remedy: what to do.

    Raises:
        OSError: a write failed (disk full).
    """
    try:
        yield
    except SafetensorError as error:
        raise OSError(f"{path}: could not be written: {error}; {remedy}") from error
