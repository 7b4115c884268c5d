"""A worker process that can be killed: the only way to put a limit on code that ignores signals and holds the GIL."""

import atexit
import json
import os
import select
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_START_LIMIT = 60.0
"""Seconds that a fresh process may take to import what the function needs; not charged to the first item."""


@dataclass(frozen=True)
class Failure:
    """What came in place of a result.

    Args:
        reason: ``"timeout"``, ``"crash"`` (the process died), or ``"error"`` (the function raised).
        message: the exception's type and text, or the exit code.
    """

    reason: str
    message: str


class KillableWorker:
    """One persistent process that applies a function to items, each under a time limit.

    An item that takes too long, or that kills the process, becomes a `Failure`; the process is replaced when the next
    item comes. It is a fresh interpreter (no fork of a process with threads, no pickle: items and results travel as
    JSON), it ends when this one does, and nothing is left behind.

    Args:
        file: the source file of the function. It is loaded alone, without the package around it.
        function: name of a top-level function of one JSON-able argument with a JSON-able result.
        time_limit: seconds per item.

    Raises:
        ValueError: ``time_limit`` is not positive.
        RuntimeError: on a call, the process could not be started; the message ends with what it said.
    """

    def __init__(self, file: Path, function: str, time_limit: float) -> None:
        if not time_limit > 0:
            raise ValueError(f"time_limit: got {time_limit}, want a positive number of seconds")
        self._command = [sys.executable, str(Path(__file__).with_name("serve.py")), str(file), function]
        self._time_limit = time_limit
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        _live.add(self)

    def map(self, items: Sequence[Any]) -> list[Any]:
        """The function's result for each item, or a `Failure`."""
        return [self.apply(item) for item in items]

    def apply(self, item: Any) -> Any:
        """The function's result for one item, or a `Failure`."""
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(item).encode() + b"\n")
            process.stdin.flush()
            line = self._read_line(self._time_limit)
        except TimeoutError:
            self.close()
            return Failure("timeout", f"took longer than {self._time_limit:g} s")
        except OSError:
            line = b""
        if not line:
            code = process.wait()
            self.close()
            return Failure("crash", f"the worker process died with exit code {code}")
        ok, value = json.loads(line)
        return value if ok else Failure("error", value)

    def close(self) -> None:
        """Kill the process, if there is one. The next item starts another."""
        process, self._process, self._unread = self._process, None, b""
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                try:
                    if pipe is not None:
                        pipe.close()
                except OSError:
                    continue  # what was left to write has no reader any more

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            line = self._read_line(_START_LIMIT)
        except TimeoutError:
            line = b""
        if line != b"ready":
            self.close()
            said = subprocess.run(self._command, stdin=subprocess.DEVNULL, capture_output=True, text=True).stderr
            raise RuntimeError(
                f"worker: could not start {self._command[2]}: {said.strip()[-500:] or 'not ready in time'}"
            )
        return self._process

    def _read_line(self, limit: float) -> bytes:
        """The next line without its end, empty at the end of the stream; ``TimeoutError`` after ``limit`` seconds."""
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor, deadline = self._process.stdout.fileno(), time.monotonic() + limit
        while b"\n" not in self._unread:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            data = os.read(descriptor, 65536)
            if not data:
                return b""
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line


_live: weakref.WeakSet[KillableWorker] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for worker in list(_live):
        worker.close()
