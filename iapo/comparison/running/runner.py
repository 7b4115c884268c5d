"""Jobs as processes, several at once: kept where finished, stopped cleanly by a signal, with a reason if they fail."""

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from iapo.training.interruption import EXIT_CODE, listening

State = Literal["kept", "finished", "failed", "interrupted"]

_POLL = 0.2
_LAST_LINES = 15
_BY_SIGNAL = "ended by signal"


@dataclass(frozen=True)
class Stage:
    """A process of a job.

    Args:
        command: what is run.
        finished: whether it has nothing left to do; asked before it starts, and after it ended well.
    """

    command: tuple[str, ...]
    finished: Callable[[], bool]


@dataclass(frozen=True)
class Job:
    """Processes that run one after the other, and their folder.

    Args:
        name: how the job is called.
        folder: made if it is not there, in one that is; ``output.log`` in it gets what the processes print.
        stages: in their order.
        progress: share of the work done, 0 to 1, and a line about it; asked while the job runs.
    """

    name: str
    folder: Path
    stages: tuple[Stage, ...]
    progress: Callable[[], tuple[float, str]]

    @property
    def finished(self) -> bool:
        """Whether no stage has anything left to do."""
        return all(stage.finished() for stage in self.stages)


@dataclass(frozen=True)
class Outcome:
    """How a job went.

    Args:
        state: ``kept``: it was finished before; ``interrupted``: by a signal, run it again to go on.
        message: of a failed job, the exit code and the last lines that it printed.
    """

    state: State
    message: str = ""

    @property
    def reason(self) -> str:
        """The line of the message that says why a job failed: the last one, or that a signal ended it."""
        lines = self.message.splitlines() or [""]
        return lines[0] if lines[0].startswith(_BY_SIGNAL) else lines[-1]


@dataclass(frozen=True)
class Listener:
    """What is called as jobs go.

    Args:
        event: called with a job, ``started`` or its outcome's state, and of one that failed the reason.
        poll: called some times a second with the jobs that run.
    """

    event: Callable[[Job, str, str], None] = lambda job, what, reason: None
    poll: Callable[[Sequence[Job]], None] = lambda running: None


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    stage: int
    log_start: int = field(default=0)


def run_jobs(
    jobs: Sequence[Job],
    at_once: int,
    threads: int,
    descriptors: Sequence[int] = (),
    listener: Listener | None = None,
) -> dict[str, Outcome]:
    """Run jobs, in their order, several at once.

    A job that fails, or cannot be started, does not stop the others. The first SIGINT, SIGTERM or SIGHUP starts nothing
    more, sends SIGTERM to what runs and waits until it has saved; a second SIGINT kills it. Processes have their own
    sessions: Ctrl-C in a terminal reaches them only through here.

    Args:
        jobs: with different names.
        at_once: processes at once.
        threads: of each process (``OMP_NUM_THREADS``).
        descriptors: open files that the processes inherit.
        listener: called as the jobs go.

    Returns:
        The outcome of each job, by name. One that a signal kept from starting is interrupted.
    """
    listener = listener or Listener()
    outcomes: dict[str, Outcome] = {}
    waiting, running = deque(jobs), list[_Running]()

    def settle(job: Job, outcome: Outcome) -> None:
        outcomes[job.name] = outcome
        listener.event(job, outcome.state, outcome.reason)

    def start(job: Job, stage: int) -> None:
        try:
            running.append(_start(job, stage, threads, descriptors))
        except OSError as error:
            settle(job, Outcome("failed", f"cannot be started: {error}"))

    with listening() as interruption:
        stopping = False
        try:
            while running or (waiting and not interruption):
                if interruption and not stopping:
                    stopping = True
                    for each in running:
                        each.process.terminate()
                while waiting and len(running) < at_once and not interruption:
                    job = waiting.popleft()
                    if job.finished:
                        settle(job, Outcome("kept"))
                    else:
                        listener.event(job, "started", "")
                        start(job, 0)
                for each in [each for each in running if each.process.poll() is not None]:
                    running.remove(each)
                    outcome = _outcome(each, bool(interruption))
                    if outcome is not None:
                        settle(each.job, outcome)
                    else:
                        start(each.job, each.stage + 1)
                listener.poll([each.job for each in running])
                time.sleep(_POLL if running else 0)
        finally:
            for each in running:
                if each.process.poll() is None:
                    os.killpg(each.process.pid, signal.SIGKILL)
                    each.process.wait()
    return outcomes | {job.name: Outcome("interrupted") for job in waiting}


def _start(job: Job, first: int, threads: int, descriptors: Sequence[int]) -> _Running:
    """Start the first stage from ``first`` on that has something to do, else the last."""
    left = [i for i in range(first, len(job.stages)) if not job.stages[i].finished()]
    stage = left[0] if left else len(job.stages) - 1
    command = job.stages[stage].command
    job.folder.mkdir(exist_ok=True)
    with (job.folder / "output.log").open("ab") as log:
        log.write(f"$ {' '.join(command)}\n".encode())
        log.flush()
        # Before the process may have written anything: it shares the position in the file.
        printed_from = log.tell()
        process = subprocess.Popen(
            command,
            env=_environment(os.environ, threads),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=tuple(descriptors),
        )
        return _Running(job, process, stage, printed_from)


def _environment(before: Mapping[str, str], threads: int) -> dict[str, str]:
    return {**before, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def _outcome(ended: _Running, interrupted: bool) -> Outcome | None:
    """How a job stands after a process ended; ``None`` if its next stage is to start."""
    code = ended.process.returncode
    finished = code == 0 and ended.job.stages[ended.stage].finished()
    if finished and ended.stage == len(ended.job.stages) - 1:
        return Outcome("finished")
    if finished and not interrupted:
        return None
    if interrupted or code == EXIT_CODE:
        return Outcome("interrupted")
    with (ended.job.folder / "output.log").open("rb") as log:
        log.seek(ended.log_start)
        printed = log.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()
    lines = [line for line in printed if line.strip()][-_LAST_LINES:]
    how = f"{_BY_SIGNAL} {-code}" if code < 0 else f"exit code {code}"
    return Outcome("failed", "\n".join([f"{how}: {' '.join(ended.job.stages[ended.stage].command)}", *lines]))
