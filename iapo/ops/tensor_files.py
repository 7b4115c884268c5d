"""The error for files of tensors, models and tokenizers that could not be written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from iapo.ops.text_files import writing


@contextmanager
def failed_writes_named(path: Path, remedy: str) -> Iterator[None]:
    """A context for writing what a model is saved as: a failed write raises ``OSError`` that says where.

    Safetensors and tokenizers raise errors of their own for it, which tell the system's as ``(os error 28)``.

    Args:
        path: of the file or folder that is written.
        remedy: what to do.

    Raises:
        OSError: a write failed (disk full).
    """
    try:
        with writing(path):
            yield
    except OSError:
        raise
    except Exception as error:
        if not isinstance(error, SafetensorError) and "(os error " not in str(error):
            raise
        raise OSError(f"{path}: could not be written: {error}; {remedy}") from error
