"""What a command is at, on standard error: live in a terminal, and else a line now and then.

Components print nothing; that tokens are sampled is seen from outside (`iapo.training.reporting.counting`).
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from torch import nn

from iapo.training.reporting.counting import Sampling, watched

Show = Callable[[int, Mapping[str, float]], None]

_ANNOUNCED_AFTER = 1.0
"""Seconds from which on something is told of; what is over before needs no telling."""
_FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 60.0
"""Seconds between two lines without a terminal: at first, and at most, as they double."""


class CommandProgress:
    """Shows what a command is doing: the innermost of its open phases. A thread reports those that last.

    Args:
        command: begins each line.
    """

    def __init__(self, command: str) -> None:
        self.command = command
        self.console = Console(stderr=True)
        self._live: Progress | None = None
        self._task: TaskID | None = None
        self._line: Callable[[], str] | None = None
        self._share: Callable[[], float | None] = lambda: None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._next = self._pause = 0.0

    def __enter__(self) -> "CommandProgress":
        if self.console.is_terminal:
            columns = (SpinnerColumn(), BarColumn(24), TextColumn("{task.description}", markup=False))
            self._live = Progress(*columns, console=self.console, transient=True)
            self._live.start()
        self._thread = threading.Thread(target=self._tell, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        if self._live is not None:
            self._live.stop()

    @contextmanager
    def phase(
        self, title: str, model: nn.Module | None = None, completions: int = 0, longest: int = 0
    ) -> Iterator[None]:
        """A block that is told of by its title and, if something is sampled in it, its speed and the time left.

        Args:
            title: what is done.
            model: the policy that is sampled from; ``None``: nothing is sampled.
            completions: how many in all; 0: not known.
            longest: tokens of a completion at most.
        """
        sampling, start = Sampling(completions, longest), time.monotonic()

        def share() -> float | None:
            left = sampling.left()
            return None if left is None else sampling.tokens / max(1.0, sampling.tokens + left)

        with watched(model, sampling), self._at(lambda: _of_phase(title, sampling, start), share):
            yield

    @contextmanager
    def updates(self, steps: int, done: int, model: nn.Module | None = None) -> Iterator[Show]:
        """A block of updates: a function that is called with each step and its metrics.

        Args:
            steps: steps of the whole run.
            done: steps taken before.
            model: the policy that is sampled from.
        """
        sampling, start = Sampling(), time.monotonic()
        step, line = done, ""
        since, tokens = start, 0

        def text() -> str:
            speed = ""
            if sampling.tokens > tokens:
                speed = f"  sampling, {rate(sampling.tokens - tokens, time.monotonic() - since)}"
            return f"step {step}/{steps}{line}{time_left(start, step - done, steps - step)}{speed}"

        def show(now: int, metrics: Mapping[str, float]) -> None:
            nonlocal step, line, since, tokens
            step, line, since, tokens = now, f"  {summary(metrics)}", time.monotonic(), sampling.tokens
            if self._live is None and (step % 10 == 0 or step in (1, steps)):
                self._print(text())

        with watched(model, sampling), self._at(text, lambda: step / steps):
            yield show

    def say(self, text: str) -> None:
        """Write a line that stays."""
        with self._lock:
            self.console.print(f"{self.command}: {text}", markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def _at(self, line: Callable[[], str], share: Callable[[], float | None]) -> Iterator[None]:
        with self._lock:
            outer = self._line, self._share, self._task
            self._line, self._share = line, share
            self._next, self._pause = time.monotonic() + _ANNOUNCED_AFTER, _FIRST_PAUSE
            if self._live is not None:
                self._task = self._live.add_task(line(), total=None)
        try:
            yield
        finally:
            with self._lock:
                if self._live is not None and self._task is not None:
                    self._live.remove_task(self._task)
                self._line, self._share, self._task = outer

    def _tell(self) -> None:
        while not self._over.wait(0.2):
            with self._lock:
                if self._line is None:
                    continue
                if self._live is not None and self._task is not None:
                    share = self._share()
                    total, completed = (None, 0.0) if share is None else (1.0, share)
                    self._live.update(self._task, description=self._line(), total=total, completed=completed)
                    continue
                text = self._line() if time.monotonic() >= self._next else ""
            if text:
                self._print(text)

    def _print(self, text: str) -> None:
        self._next, self._pause = time.monotonic() + self._pause, min(_LONGEST_PAUSE, 2 * self._pause)
        self.say(text)


def _of_phase(title: str, sampling: Sampling, start: float) -> str:
    if not sampling.tokens:
        return title
    seconds = time.monotonic() - start
    left = sampling.left()
    tail = "" if left is None else f", about {duration(left * seconds / sampling.tokens)} left"
    return f"{title}: {sampling.tokens} tokens, {rate(sampling.tokens, seconds)}{tail}"


def rate(tokens: int, seconds: float) -> str:
    """Tokens per second, for reading.

    Example:
        >>> rate(1000, 3.0)
        '333 tokens/s'
    """
    return f"{tokens / max(seconds, 1e-9):.0f} tokens/s"


def time_left(start: float, done: int, left: int) -> str:
    """How long the steps that are left take at the pace of those that are done; empty before the first."""
    return f"  about {duration((time.monotonic() - start) / done * left)} left" if done and left else ""


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, for reading.

    Example:
        >>> duration(7.6), duration(200), duration(9000)
        ('8 s', '3 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def summary(metrics: Mapping[str, float]) -> str:
    """Reward, each reward function, and length, in one line."""
    parts = [f"reward {metrics['reward']:.3f}"]
    parts += [f"{n.split('/')[1]} {v:.3f}" for n, v in metrics.items() if n.startswith("rewards/")]
    return "  ".join([*parts, f"length {metrics['completions/mean_length']:.1f}"])
