"""The progress of a run: a bar with reward, accuracy and length; plain lines where there is no terminal."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Show = Callable[[int, Mapping[str, float]], None]


@contextmanager
def progress_bar(steps: int, done: int) -> Iterator[Show]:
    """Yield a function to be called with each step and its metrics.

    Args:
        steps: steps of the whole run.
        done: steps taken before.
    """
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[line]}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("train", total=steps, completed=done, line="")

        def show(step: int, metrics: Mapping[str, float]) -> None:
            line = summary(metrics)
            progress.update(task, completed=step, line=line)
            if not console.is_terminal and (step % 10 == 0 or step in (1, steps)):
                console.print(f"step {step}/{steps}  {line}", highlight=False)

        yield show


def summary(metrics: Mapping[str, float]) -> str:
    """Reward, each reward function, and length, in one line."""
    parts = [f"reward {metrics['reward']:.3f}"]
    parts += [f"{n.split('/')[1]} {v:.3f}" for n, v in metrics.items() if n.startswith("rewards/")]
    return "  ".join([*parts, f"length {metrics['completions/mean_length']:.1f}"])
