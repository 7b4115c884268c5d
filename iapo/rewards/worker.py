"""A worker process that can be killed: the only way to put a limit on code that ignores signals and holds the GIL."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iapo.ops.checks import check_number

_START_LIMIT = 60.0
"""Seconds that a fresh process may take to import what the function needs; not charged to the first item."""

_PATIENCE = 20
"""Where the limit is of computing, so many times as many seconds may pass: a busy machine gives a process its share."""


@dataclass(frozen=True)
class Failure:
    """The reason why there is no result.

    Args:
        reason: ``"timeout"``, ``"crash"`` (the process died), or ``"error"`` (the function raised).
        message: the function's name with the exception's type and text, the exit code, or the time limit.
    """

    reason: str
    message: str

    def warn(self, reward: str, doing: str, time_limit: float) -> None:
        """Warn that an answer counts as wrong because of this.

        Args:
            reward: name of the reward that scored it.
            doing: what failed, such as ``comparing an answer``.
            time_limit: seconds that it may take.
        """
        warnings.warn(
            f"{reward}: {self.message} in {doing}, which then counts as wrong (time_limit={time_limit:g})", stacklevel=3
        )


class KillableWorker:
    """One persistent process that applies a function to items, each under a time limit.

    An item that takes too long, or that kills the process, becomes a `Failure`; the process is replaced when the next
    item comes. It is a fresh interpreter (no fork of a process with threads, no import of the caller's script, no
    pickle: items and results travel as JSON) with at most 4 GiB of memory on Linux. No process is left behind: it is
    killed when this object is deleted and when this process exits. If this process is killed in the middle of an item,
    the kernel ends the worker: at once on Linux if the main thread started it, else by a timer seconds after the limit.
    Ctrl-C does not reach it. Threads may share a worker and take turns. A copy of a worker, an unpickled worker and a
    worker in a forked process start a process of their own. Needs a POSIX system.

    Args:
        file: the source file of the function. It is loaded alone, without the package around it.
        function: name of a top-level function of one JSON-able argument with a JSON-able result.
        time_limit: seconds per item.
        by_name: items are mappings, whose entries are the function's arguments by name.
        computes: the function waits for nothing. The limit is then of the seconds that it computes, so that a result
            does not depend on what else the machine does; twenty times as many may pass.

    Raises:
        ValueError: a ``time_limit`` that is not positive and finite.
        RuntimeError: on a call, the process could not be started; the message ends with its error output.

    Example:
        >>> import string
        >>> with KillableWorker(Path(string.__file__), "capwords", time_limit=5.0) as worker:
        ...     worker.map(["one answer", "two"])
        ['One Answer', 'Two']
    """

    def __init__(
        self, file: Path, function: str, time_limit: float, by_name: bool = False, computes: bool = False
    ) -> None:
        check_number("time_limit", time_limit, "a positive number of seconds", lambda x: x > 0)
        self._arguments = (file, function, time_limit, by_name, computes)
        self._patience = _PATIENCE * time_limit if computes else time_limit
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._unread = b""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments

    def __enter__(self) -> "KillableWorker":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def map(self, items: Sequence[Any]) -> list[Any]:
        """The function's result for each item, or a `Failure` at its index."""
        return [self.apply(item) for item in items]

    def apply(self, item: Any) -> Any:
        """The function's result for one item, or a `Failure`."""
        request = json.dumps(item).encode() + b"\n"
        if self._owner != os.getpid():  # forked: the process and the lock belong to the parent
            self.__init__(*self._arguments)  # type: ignore[misc]
        with self._lock:
            process = self._running()
            try:
                line = self._ask(process, request)
            except TimeoutError:
                self._kill()
                return Failure("timeout", f"took longer than {self._patience:g} s")
            except BaseException:  # an interrupted item's answer must not be read as the next one's
                self._kill()
                raise
            if not line:
                code = process.wait()
                self._kill()
                if code == -signal.SIGPROF:
                    return Failure("timeout", f"computed longer than {self._arguments[2]:g} s")
                return Failure("crash", f"the worker process died with exit code {code}")
        ok, value = json.loads(line)
        return value if ok else Failure("error", value)

    def close(self) -> None:
        """Kill the process, if there is one. The next item starts another."""
        with self._lock:
            self._kill()

    def _kill(self) -> None:
        if self._process is not None:
            self._process, self._unread = None, b""
            self._finalizer()

    def _ask(self, process: subprocess.Popen[bytes], request: bytes) -> bytes:
        assert process.stdin is not None
        try:
            process.stdin.write(request)
            process.stdin.flush()
        except OSError:
            return b""
        return self._read_line(process, self._patience)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._kill()  # it died between two items: no item's fault
        if self._process is not None:
            return self._process
        file, function, time_limit, by_name, computes = self._arguments
        serve = str(Path(__file__).with_name("serve.py"))
        tied = "tied" if threading.current_thread() is threading.main_thread() else "loose"
        # -P: this folder must not be where the worker looks for `text` or `format`. One thread: no oversubscription.
        command = [
            sys.executable,
            "-P",
            serve,
            str(file),
            function,
            str(self._patience),
            str(time_limit if computes else 0.0),
            tied,
            "by name" if by_name else "",
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with tempfile.TemporaryFile() as error_output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=error_output,
                env=environment,
                start_new_session=True,
            )
            self._process = process
            self._finalizer = weakref.finalize(self, _end, process, os.getpid())
            try:
                ready = self._read_line(process, _START_LIMIT) == b"ready"
            except TimeoutError:
                ready = False
            except BaseException:
                self._kill()
                raise
            if not ready:
                self._kill()
                error_output.seek(0)
                reason = error_output.read().decode(errors="replace").strip()[-500:] or "not ready in time"
                raise RuntimeError(f"worker: could not start {function} of {file}: {reason}")
        return process

    def _read_line(self, process: subprocess.Popen[bytes], limit: float) -> bytes:
        """The next line without its end, empty at the end of the stream; ``TimeoutError`` after ``limit`` seconds."""
        assert process.stdout is not None
        descriptor, deadline = process.stdout.fileno(), time.monotonic() + limit
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while b"\n" not in self._unread:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            data = os.read(descriptor, 65536)
            if not data:
                return b""
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """Kill a process, unless this process is a fork of its owner."""
    if os.getpid() != owner:
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # nobody reads what is still to be written
                pipe.close()
