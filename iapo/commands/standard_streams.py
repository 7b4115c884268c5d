"""Standard streams of a command: there from the start to the end, whether or not anybody is at their other end."""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from iapo.ops.text_files import writing


def open_missing_streams() -> None:
    """Let the standard streams that the process was started without (``>&-``) lead nowhere.

    The next files that are opened, the lock and the metrics of a run, would else take their places, and get what
    libraries in C print.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, "w" if number else "r", encoding="utf-8"))


def flush_output() -> None:
    """Write what waits to be written to standard output; an ``OSError`` names it."""
    with writing(Path("standard output")):
        sys.stdout.flush()


def lost_output() -> OSError | None:
    """Why the last of standard output cannot be written, which then goes nowhere; ``None``: it is written.

    Python would else try again when it ends, print a traceback, and exit with a code of its own.
    """
    try:
        flush_output()
    except OSError as error:
        lead_nowhere(sys.stdout)
        return error
    return None


def output_is_read() -> bool:
    """Whether the pipe that standard output is has a reader, as far as that can be known; also true of a file."""
    asked = select.poll()
    asked.register(sys.stdout.fileno(), 0)
    return not any(found & select.POLLERR for _, found in asked.poll(0))


def lead_nowhere(stream: Any) -> None:
    """Let everything that is written to a stream, also what waits in its buffer, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


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
            lead_nowhere(self._stream)
        return len(text)

    def flush(self) -> None:
        try:
            if self._stream is not None:
                self._stream.flush()
        except OSError:
            lead_nowhere(self._stream)
