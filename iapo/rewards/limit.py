"""A time limit on a call in this process: for all that Python can interrupt. `iapo.rewards.worker` limits the rest."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class TookTooLong(BaseException):
    """A call took longer than its limit."""


def within(time_limit: float, call: Callable[[], Any]) -> Any:
    """What the call returns or raises.

    In the main thread the call is interrupted by a timer (``SIGALRM``): loops, sleeps, regular expressions, network
    and locks all end. In another thread, which no signal reaches, the call runs in a thread of its own that is left
    behind. C code that neither ends nor looks for signals is not interrupted in either.

    Args:
        time_limit: seconds.
        call: takes nothing.

    Raises:
        TookTooLong: after ``time_limit`` seconds.
    """
    if threading.current_thread() is not threading.main_thread():
        return _in_a_thread(time_limit, call)

    def ring(number: int, frame: FrameType | None) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, time_limit)
    try:
        return call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _in_a_thread(time_limit: float, call: Callable[[], Any]) -> Any:
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.extend([True, call()])
        except BaseException as error:
            outcome.extend([False, error])

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(time_limit)
    if len(outcome) != 2:
        raise TookTooLong
    returned, value = outcome
    if not returned:
        raise value
    return value
