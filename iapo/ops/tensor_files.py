"""The error for a file of tensors that could not be written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


@contextmanager
def failed_writes_named(path: Path, remedy: str) -> Iterator[None]:
    """A context for writing safetensors files: a failed write raises ``OSError`` in place of the error of safetensors.

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
