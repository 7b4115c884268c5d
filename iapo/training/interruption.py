"""Signals that ask to stop: leave what can be repeated, finish what cannot, save once; a second one aborts at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 75
"""Exit code of a run that was interrupted and saved (``EX_TEMPFAIL``: the same command with ``--resume`` goes on)."""


class Interrupted(BaseException):  # not an Exception: what catches all errors must not catch it
    """A signal ended work that can be repeated.

    Args:
        number: of the signal.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"interrupted by {number.name}")
        self.signal = number


class Interruption:
    """Whether, and by which signal, the run was asked to stop.

    Args:
        passed_on: a launcher passes signals on, which a scheduler may send to the process too: the second is expected.
    """

    def __init__(self, passed_on: bool = False) -> None:
        self.signal: signal.Signals | None = None
        self._leaves, self._passed_on = False, passed_on

    def __bool__(self) -> bool:
        return self.signal is not None

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """A block that is left at once, between two operations of Python, when the signal comes or has come.

        Code in the block may catch what leaves it, as a reward with a bare ``except`` does: what is then computed, or
        raised in place of it, is not to be relied on, and the block is left at its end.

        Raises:
            Interrupted: the signal.
        """
        self._leaves = True
        try:
            self._leave()
            yield
            self._leave()
        except Exception:
            self._leave()
            raise
        finally:
            self._leaves = False

    def _leave(self) -> None:
        if self.signal is not None:
            raise Interrupted(self.signal)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handle the first signal; the next has its usual effect, but for one that a launcher passes on."""
        again = self.signal is not None
        if again or not self._passed_on:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that goes may send it twice
        if again:
            return
        self.signal = signal.Signals(number)
        if self._leaves:
            raise Interrupted(self.signal)


@contextmanager
def listening(passed_on: bool = False) -> Iterator[Interruption]:
    """Catch the first SIGTERM, SIGINT or SIGHUP; a second SIGTERM or SIGINT has its usual effect.

    SIGHUP comes when the terminal goes; where it is ignored, as under ``nohup``, it stays so. Handlers are restored at
    the end.

    Args:
        passed_on: a launcher passes on what the process may have got already; the third has its usual effect.
    """
    interruption = Interruption(passed_on)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    for number, handler in before.items():
        if number != signal.SIGHUP or handler != signal.SIG_IGN:
            signal.signal(number, interruption.receive)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
