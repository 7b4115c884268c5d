"""A program that saves checkpoint 3 beside 1 and 2 in forked processes, with a fault in each.

The program prints as JSON what each fault left behind: a death before and after every operation on
files, in turn; a SIGKILL after 0 to 110 ms; a disk that is full after some number of bytes.
"""

import json
import os
import resource
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from saved_runs import CONFIG, content_of, optimizer_of, policy, state_of, tokenizer, train
from transformers.utils.logging import disable_progress_bar

from iapo.training.checkpoints.checkpoint import load_checkpoint, save_checkpoint

Saves = Callable[[], None]


class Trials:
    """Attempts to save checkpoint 3, each in a forked process and in a fresh copy of the run.

    Args:
        run: a run with checkpoints 1 and 2.
    """

    def __init__(self, run: Path) -> None:
        model = policy(3)
        optimizer = optimizer_of(model)
        train(model, optimizer, 1)
        self.arguments = (state_of(optimizer, 3), model, tokenizer())
        self.before = content_of(run / "checkpoint-2")
        self.run, self.work = run, run.with_name("work")

    def save(self, step: int = 3) -> None:
        """Save a checkpoint into the copy."""
        save_checkpoint(self.work, step, *self.arguments, keep=2)

    def attempt(self, child: Saves, wait: Callable[[int], None] = lambda child: None) -> tuple[int, dict]:
        """Exit status of a forked process that runs ``child``, and what it left in the copy."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.run, self.work)
        process = os.fork()
        if process == 0:
            try:
                signal.alarm(30)
                child()
                os._exit(0)
            except OSError as error:
                os._exit(3 if "File too large" in str(error) and str(self.work) in str(error) else 4)
            except BaseException:
                os._exit(5)
        wait(process)
        status = os.waitpid(process, 0)[1]
        checkpoint = load_checkpoint(self.work, CONFIG)
        unchanged = content_of(self.work / "checkpoint-2") == self.before
        left = {
            "step": checkpoint.step,
            "intact": unchanged and checkpoint.state.data["taken"] == checkpoint.step,
            "names": sorted(path.name for path in self.work.iterdir()),
        }
        return status, left

    def can_continue(self) -> bool:
        """Whether the run goes on after a fault: it saves checkpoint 3 if that is missing, then 4."""
        if load_checkpoint(self.work).step == 2:
            self.save(3)
        self.save(4)
        return [path.name for path in sorted(self.work.iterdir())] == ["checkpoint-3", "checkpoint-4"]

    def killed_at(self, count: int) -> Saves:
        """A save whose process dies at the ``count``-th operation on files."""

        def child() -> None:
            left = [count]

            def step(*_: object) -> None:
                left[0] -= 1
                if left[0] == 0:
                    os._exit(9)

            def hook(event: str, values: tuple) -> None:
                watched = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")
                if event in watched and "work" in str(values[0]):
                    step()

            fsync = os.fsync
            os.fsync = lambda handle: (step(), fsync(handle), step())[1]
            sys.addaudithook(hook)
            self.save()

        return child

    def full_at(self, limit: int) -> Saves:
        """A save that cannot write more than ``limit`` bytes into a file."""

        def child() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            self.save()

        return child


def kills(trials: Trials) -> list[dict]:
    """What is left after a death at the first, second, ... operation on files, until a save gets through."""
    results, status, count = [], 1, 0
    while status != 0:
        count += 1
        status, left = trials.attempt(trials.killed_at(count))
        seen = [result["names"] for result in results]
        results.append({**left, "saved_after": left["names"] in seen or trials.can_continue()})
    return results


def signals(trials: Trials) -> list[dict]:
    """What is left after a SIGKILL at different times."""
    results = []
    for delay in range(12):

        def wait(process: int, delay: int = delay) -> None:
            time.sleep(delay * 0.01)
            os.kill(process, signal.SIGKILL)

        results.append(trials.attempt(trials.save, wait)[1])
    return results


def full_disks(trials: Trials) -> list[dict]:
    """What is left where a file cannot grow beyond 0 bytes, 1 byte, or one byte less than each file of a checkpoint."""
    results = []
    for limit in [0, 1, *(size - 1 for size in sorted(map(len, trials.before.values())))]:
        status, left = trials.attempt(trials.full_at(limit))
        results.append({**left, "raised": os.waitstatus_to_exitcode(status) == 3})
    return results


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    disable_progress_bar()  # Its lock is shared between processes: one that dies holding it would stop the next.
    trials = Trials(Path(sys.argv[1]))
    print(json.dumps({"kills": kills(trials), "signals": signals(trials), "full": full_disks(trials)}))
