"""`iapo compare`: methods by seeds from one YAML file, to one page."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from iapo.commands.last_line import say_where
from iapo.comparison.running.begun import check_begun
from iapo.comparison.running.choice import choose
from iapo.comparison.running.problems import check_problems, write_problems
from iapo.comparison.running.progress import display
from iapo.comparison.running.protocol import check_folders, run_plan
from iapo.comparison.running.read_plan import read_plan
from iapo.comparison.running.results import read_finished, read_reporting
from iapo.comparison.running.runner import Job, Outcome, run_jobs
from iapo.comparison.running.settings import instantiate
from iapo.comparison.showing.page import render_page
from iapo.comparison.showing.report import render_report, results_json
from iapo.comparison.showing.summary import summarize
from iapo.ops.lock import check_held, locked
from iapo.ops.shell import quoted_path
from iapo.ops.text_files import write_text
from iapo.training.interruption import EXIT_CODE


def compare(*, comparison: str, output: str, only_report: bool, override: bool = False) -> int:
    """Run what is not finished of a comparison, then write ``results.json``, ``report.md`` and ``index.html``.

    Args:
        comparison: YAML file, see `iapo.comparison.running.read_plan`.
        output: folder of the comparison.
        only_report: write from the runs that are finished, and start none.
        override: runs that have begun go on although versions or the thread count differ; the report names them.

    Returns:
        The exit code: 0; 1 if a run failed; `iapo.training.interruption.EXIT_CODE` if a signal ended it: the same
        command goes on.

    Raises:
        FileNotFoundError: a file that is not there; with ``only_report``, no comparison in ``output``.
        OSError: another comparison is at work in ``output``; or ``output`` was moved, removed or replaced on the way.
        ValueError: a plan that cannot work; raised before any process starts.
    """
    if not output:
        raise ValueError("output: got an empty text, want the name of a folder")
    plan = read_plan(Path(comparison))
    folder = Path(output)
    outcomes: dict[str, Outcome] = {}
    if only_report:
        check_problems(plan, folder)
        check_folders(plan, folder)
    else:
        with locked(folder) as lock:

            def execute(title: str, jobs: Sequence[Job]) -> Mapping[str, Outcome]:
                with display(title, len(jobs)) as shown:

                    def poll(running: Sequence[Job]) -> None:
                        check_held(folder, lock)
                        shown.poll(running)

                    return run_jobs(jobs, plan.at_once, plan.threads, (lock,), replace(shown, poll=poll))

            check_begun(plan, folder, check_folders(plan, folder))
            write_problems(plan, folder, instantiate(plan.evaluation.settings)["rewards"])
            outcomes = run_plan(plan, folder, execute, override)
            check_held(folder, lock)
        if any(outcome.state == "interrupted" for outcome in outcomes.values()):
            done = sum(outcome.state not in ("interrupted", "failed") for outcome in outcomes.values())
            print(
                f"iapo compare: interrupted; {done} of {len(outcomes)} runs are finished and kept, the others go on "
                f"from their checkpoints; the same command goes on in {output}",
                file=sys.stderr,
            )
            return EXIT_CODE
    tuning = read_finished(folder, plan.tuning_runs())
    choices = choose(plan, tuning)
    results = [*read_reporting(plan, folder, choices), *tuning]
    summary = summarize(plan, folder, choices, results, outcomes)
    write_text(folder / "results.json", results_json(summary))
    write_text(folder / "report.md", render_report(summary))
    write_text(folder / "index.html", render_page(summary))
    for name, outcome in outcomes.items():
        if outcome.state == "failed":
            log = folder / name / "output.log"
            print(f"iapo compare: {name} failed: {outcome.reason} (see {log})", file=sys.stderr)
    say_where(
        "iapo compare",
        f"the page is {quoted_path(folder / 'index.html')}, the tables are in {quoted_path(folder / 'report.md')}; "
        f"iapo show {quoted_path(folder)}/METHOD/SETTING/seed-N prints sampled texts",
    )
    return int(any(outcome.state == "failed" for outcome in outcomes.values()))
