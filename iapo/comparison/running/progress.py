"""How a comparison goes, on standard error: a bar for all runs and one for each that runs; plain lines without one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from iapo.comparison.running.runner import Job, Listener


@contextmanager
def display(title: str, total: int) -> Iterator[Listener]:
    """Yield a listener that shows how ``total`` jobs go."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[line]}", markup=False),
    )
    settled = 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        whole = progress.add_task(title, total=total, line=f"0 of {total}")
        bars: dict[str, TaskID] = {}

        def event(job: Job, what: str) -> None:
            nonlocal settled
            if what == "started":
                bars[job.name] = progress.add_task(f"  {escape(job.name)}", total=1.0, line="")
            else:
                settled += 1
                if job.name in bars:
                    progress.remove_task(bars.pop(job.name))
                progress.update(whole, completed=settled, line=f"{settled} of {total}")
            if what == "failed" or not console.is_terminal:
                console.print(f"{settled}/{total}  {job.name}  {what}", markup=False, highlight=False)

        def poll(running: Sequence[Job]) -> None:
            if not progress.disable:
                for job in running:
                    share, line = job.progress()
                    progress.update(bars[job.name], completed=share, line=line)

        yield Listener(event, poll)
