"""Files of tensors, models and tokenizers: the error where they cannot be written, and who may read them."""

import stat
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


def follow_umask(folder: Path) -> None:
    """Give all files in a folder the mode that the umask says: safetensors writes for the owner alone, whatever it is.

    Args:
        folder: that no other process writes into; folders in it are not looked at.

    Raises:
        OSError: a mode cannot be changed, or nothing can be written.
    """
    probe = folder / ".mode"
    probe.touch()
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    for path in folder.iterdir():
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)
