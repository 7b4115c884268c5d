"""How a comparison goes, on standard error: a bar for all runs and one for each; without a terminal, lines."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from iapo.comparison.running.runner import Job, Listener
from iapo.training.reporting.progress import duration

_FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 120.0
"""Seconds between two lines without a terminal: at first, and at most, as they double."""


@dataclass
class Pace:
    """How long the jobs that are left take at the pace of those that ran so far.

    Args:
        total: number of jobs.
        clock: seconds.
    """

    total: int
    clock: Callable[[], float] = time.monotonic
    settled: int = 0
    unfinished: int = 0
    _start: float | None = None
    _begun: dict[str, float] = field(default_factory=dict)
    _done: float = 0.0

    def see(self, name: str, share: float) -> None:
        """A job begins, or goes on, with so much of it done."""
        if self._start is None:
            self._start = self.clock()
        self._begun.setdefault(name, share)

    def settle(self, name: str, finished: bool = True) -> None:
        """A job ended, or needed nothing; of one that failed nothing counts as work done."""
        self.settled += 1
        self.unfinished += not finished
        begun = self._begun.pop(name, None)
        if finished and begun is not None:
            self._done += 1 - begun

    def state(self) -> str:
        """How many jobs are done, and how many ended without being done."""
        ended = f", {self.unfinished} failed or interrupted" if self.unfinished else ""
        return f"{self.settled - self.unfinished} of {self.total} runs done{ended}"

    def left(self, running: dict[str, float]) -> str:
        """The time left, as text; empty as long as there is no pace.

        Args:
            running: share done of each job that runs, by its name.
        """
        done = self._done + sum(share - self._begun.get(name, share) for name, share in running.items())
        work = self.total - self.settled - sum(running.values())
        if self._start is None or done <= 0 or work <= 0:
            return ""
        return f", about {duration((self.clock() - self._start) / done * work)} left"


@contextmanager
def display(title: str, total: int) -> Iterator[Listener]:
    """Yield a listener that shows how ``total`` jobs go: runs done, what each that runs is at, and the time left."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(24),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[line]}", markup=False),
    )
    pace, pause = Pace(total, time.monotonic), _FIRST_PAUSE
    due = time.monotonic() + pause

    def say(text: str) -> None:
        console.print(f"iapo compare: {text}", markup=False, highlight=False, soft_wrap=True)

    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        whole = progress.add_task(title, total=total, line=pace.state())
        bars: dict[str, TaskID] = {}

        def event(job: Job, what: str, reason: str) -> None:
            if what == "started":
                bars[job.name] = progress.add_task(f"  {escape(job.name)}", total=1.0, line="")
                pace.see(job.name, job.progress()[0])
            else:
                pace.settle(job.name, what in ("finished", "kept"))
                if job.name in bars:
                    progress.remove_task(bars.pop(job.name))
            if what == "failed" or not console.is_terminal:
                say(f"{title}, {pace.state()}: {job.name} {what}{reason and f': {reason}'}")

        def poll(running: Sequence[Job]) -> None:
            nonlocal due, pause
            if console.is_terminal or time.monotonic() >= due:
                shown = {job.name: job.progress() for job in running}
                shares = {name: share for name, (share, _) in shown.items()}
                state = pace.state() + pace.left(shares)
                progress.update(whole, completed=pace.settled + sum(shares.values()), line=state)
                for name, (share, line) in shown.items():
                    progress.update(bars[name], completed=share, line=line)
                if not console.is_terminal:
                    pause = min(_LONGEST_PAUSE, 2 * pause)
                    due = time.monotonic() + pause
                    say("; ".join([f"{title}, {state}", *(f"{n} {s:.0%} {line}" for n, (s, line) in shown.items())]))

        yield Listener(event, poll)
