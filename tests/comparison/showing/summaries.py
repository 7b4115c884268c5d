"""What a folder of finished runs comes to."""

from pathlib import Path

from comparison_folders import write_comparison

from iapo.comparison.running.choice import choose
from iapo.comparison.running.plan import Plan
from iapo.comparison.running.results import RunResult, read_finished, read_reporting
from iapo.comparison.running.runner import Outcome
from iapo.comparison.showing.summary import Summary, summarize


def made_up_comparison(folder: Path) -> tuple[Plan, Path, Summary]:
    """A comparison of runs that were made up, and what it comes to."""
    plan = write_comparison(folder)
    return plan, folder, summary_of(plan, folder)


def summary_of(plan: Plan, folder: Path, outcomes: dict[str, Outcome] | None = None) -> Summary:
    return summarize(plan, folder, *choices_and_results(plan, folder), outcomes or {})


def choices_and_results(plan: Plan, folder: Path) -> tuple[dict[str, str], list[RunResult]]:
    tuning = read_finished(folder, plan.tuning_runs())
    choices = choose(plan, tuning)
    return choices, [*read_reporting(plan, folder, choices), *tuning]
