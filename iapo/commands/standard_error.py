"""Standard error of a command, which goes on where nobody reads it any more."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any


@contextmanager
def tolerant_standard_error() -> Iterator[None]:
    """Inside this block, what cannot be written to standard error is dropped, and so is all that follows it.

    The terminal or the program behind a pipe has gone, or the disk of a log is full: the work of hours must not end
    with a line about it. A file that cannot be written, and standard output, are errors as before.
    """
    with redirect_stderr(_TolerantStream(sys.stderr)):
        yield


class _TolerantStream:
    """A stream of text whose writes do not fail.

    Args:
        stream: what is written to; ``None``: nothing.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            if self._stream is not None:
                self._stream.write(text)
        except OSError:
            self._drop()
        return len(text)

    def flush(self) -> None:
        try:
            if self._stream is not None:
                self._stream.flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        """Let everything that is written, also what waits in the stream's buffer, go nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
