"""A comparison from plan to finished runs: tune on some seeds and problems, choose, report on others."""

import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml  # type: ignore[import-untyped]

from iapo.comparison.running.plan import Method, Plan, Run, Split
from iapo.comparison.running.problems import judging_path
from iapo.comparison.running.results import BASE_FOLDER, is_judged, read_run
from iapo.comparison.running.runner import Job, Outcome, Stage
from iapo.comparison.running.settings import Settings
from iapo.comparison.showing.statistics import choose_setting
from iapo.training.log import read_metrics
from iapo.training.progress import summary

Execute = Callable[[str, Sequence[Job]], Mapping[str, Outcome]]


def run_plan(plan: Plan, folder: Path, execute: Execute) -> dict[str, Outcome]:
    """Run everything that is not finished yet: tuning runs, the base model and methods without a choice, then the rest.

    Args:
        plan: of the comparison; the problems are in ``folder`` already.
        folder: of the comparison.
        execute: runs jobs under a title.

    Returns:
        How each job went, by its folder.
    """
    base = Job("base", folder / BASE_FOLDER, (_judge(folder, BASE_FOLDER, "test"),), lambda: (0.0, "judging"))
    first = [run_job(plan, folder, run) for run in [*plan.tuning_runs(), *plan.reporting_runs(plan.untuned())]]
    outcomes = dict(execute("tuning" if plan.tuning_runs() else "reporting", [base, *first]))
    if any(outcome.state == "interrupted" for outcome in outcomes.values()):
        return outcomes
    chosen = {name: setting for name, setting in choose(plan, folder).items() if name not in plan.untuned()}
    if chosen:
        outcomes |= execute("reporting", [run_job(plan, folder, run) for run in plan.reporting_runs(chosen)])
    return outcomes


def choose(plan: Plan, folder: Path) -> dict[str, str]:
    """The setting of each method: what tuning says, for those that have a choice.

    A setting counts if all its tuning runs are finished; a method none of whose settings counts is missing.
    """
    chosen = plan.untuned()
    for method in plan.methods:
        if method.tuned and (scores := tuning_scores(plan, folder, method)):
            accuracies = {setting: accuracy for setting, (accuracy, _) in scores.items()}
            lengths = {setting: length for setting, (_, length) in scores.items()}
            chosen[method.name] = choose_setting(accuracies, lengths, plan.tuning.tolerance)
    return chosen


def tuning_scores(plan: Plan, folder: Path, method: Method) -> dict[str, tuple[float, float]]:
    """Accuracy and mean length on the tuning problems, mean over seeds, of each setting whose runs are all finished."""
    scores = {}
    for setting in method.settings:
        runs = [Run(method, setting, seed, "validation") for seed in plan.tuning.seeds]
        results = [read_run(folder, run) for run in runs if is_judged(folder, run.folder, run.split)]
        if len(results) == len(runs):
            evaluations = [result.evaluation for result in results]
            accuracy = fmean(float(evaluation.correct.double().mean()) for evaluation in evaluations)
            scores[setting] = accuracy, fmean(float(evaluation.lengths.double().mean()) for evaluation in evaluations)
    return scores


def run_job(plan: Plan, folder: Path, run: Run) -> Job:
    """Training and judging of a run as a job; its ``settings.yaml`` is written."""
    place = folder / run.folder
    place.mkdir(parents=True, exist_ok=True)
    (place / "settings.yaml").write_text(yaml.safe_dump(run_settings(run), sort_keys=False))
    settings = run.method.settings[run.setting]
    command = (sys.executable, "-m", "iapo.cli", "train", f"--config={place / 'settings.yaml'}", f"--output={place}")
    train = Stage((*command, "--resume"), (place / "report.md").exists)

    def progress() -> tuple[float, str]:
        steps = read_metrics(place / "metrics.jsonl")
        if not steps:
            return 0.0, "starting"
        if train.finished():
            return 1.0, "judging"
        budget = settings.get("max_tokens")
        done = sum(step["num_tokens"] for step in steps) / budget if budget else 0.0
        return max(done, steps[-1]["step"] / settings["steps"]), summary(steps[-1])

    return Job(run.folder, place, (train, _judge(folder, run.folder, run.split)), progress)


def check_folders(plan: Plan, folder: Path) -> None:
    """Refuse a folder that holds a run of this plan with other settings.

    Raises:
        ValueError: other settings; the first that differ are named.
    """
    every = [plan.reporting_runs({method.name: setting}) for method in plan.methods for setting in method.settings]
    for run in [*plan.tuning_runs(), *itertools.chain(*every)]:
        place = folder / run.folder / "settings.yaml"
        if place.exists() and (differences := _differences(yaml.safe_load(place.read_text()), run_settings(run))):
            raise ValueError(
                f"output: {place.parent} holds a run with other settings ({'; '.join(differences[:3])}); remove it, "
                "or name another output"
            )


def run_settings(run: Run) -> dict[str, Any]:
    """Everything that `iapo train` is told for a run, except its folder."""
    return {**run.method.settings[run.setting], "seed": run.seed}


def _differences(found: Any, wanted: Settings) -> list[str]:
    found = found if isinstance(found, dict) else {}
    return [
        f"{name} is {found.get(name)!r}, not {wanted.get(name)!r}"
        for name in {**found, **wanted}
        if json.dumps(found.get(name)) != json.dumps(wanted.get(name))
    ]


def _judge(folder: Path, run: str, split: Split) -> Stage:
    command = (
        sys.executable,
        "-m",
        "iapo.comparison.running.evaluate",
        str(judging_path(folder, split)),
        str(folder / run),
    )
    return Stage(command, lambda: is_judged(folder, run, split))
