"""A time limit on a call in this process: for all that Python can interrupt. `iapo.rewards.worker` limits the rest."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

_AGAIN = 1.0
"""Seconds after which a call that goes on is interrupted once more."""


class TookTooLong(BaseException):
    """A call took longer than its limit."""


def within(time_limit: float, call: Callable[[], Any]) -> Any:
    """What the call returns or raises.

    In the main thread the call is interrupted by a timer (``SIGALRM``), again and again until it ends: loops, sleeps,
    regular expressions, network and locks all end, also in a call that catches what interrupts it. In another thread,
    which no signal reaches, the call runs in a thread of its own that is left behind. C code that neither ends nor
    looks for signals is not interrupted in either, nor is a call that has set an alarm of its own, of which a process
    has one. What such a call returns or raises after its time is not taken.

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

    end = time.monotonic() + time_limit
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, time_limit, _AGAIN)
    try:
        value = call()
    except Exception as error:
        if time.monotonic() > end:
            raise TookTooLong from error
        raise
    finally:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
        finally:  # should it ring just then, it is silent for a second
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    if time.monotonic() > end:
        raise TookTooLong
    return value


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
