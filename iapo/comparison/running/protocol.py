"""A comparison from plan to finished runs: tune on some seeds and problems, choose, report on others."""

import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from iapo.comparison.running.choice import choose
from iapo.comparison.running.entries import PAGES
from iapo.comparison.running.plan import Plan, Run, Split
from iapo.comparison.running.problems import problems_path
from iapo.comparison.running.results import BASE_FOLDER, SETTINGS, is_evaluated, read_finished
from iapo.comparison.running.runner import Job, Outcome, Stage
from iapo.comparison.running.settings import Settings
from iapo.ops.json_files import read_json_file
from iapo.ops.text_files import read_text, write_text
from iapo.training.configuration.plain_files import digests
from iapo.training.reporting.log import METRICS, read_metrics
from iapo.training.reporting.progress import rate, summary
from iapo.training.reporting.report import REPORT

Execute = Callable[[str, Sequence[Job]], Mapping[str, Outcome]]


def run_plan(plan: Plan, folder: Path, execute: Execute, override: bool = False) -> dict[str, Outcome]:
    """Run everything that is not finished yet: the base model, tuning runs and methods without a choice, then the rest.

    The base model comes first, and alone where the budgets at which reasoning is cut follow from its lengths.

    Args:
        plan: of the comparison; the problems are in ``folder`` already.
        folder: of the comparison.
        execute: runs jobs under a title.
        override: runs that have begun go on although versions or the thread count differ.

    Returns:
        How each job went, by its folder.
    """
    evaluation = _evaluate(plan, folder, BASE_FOLDER, "test")
    base = Job("base", folder / BASE_FOLDER, (evaluation,), lambda: (0.0, "evaluating"))
    outcomes: dict[str, Outcome] = {}
    first = [
        run_job(plan, folder, run, override) for run in [*plan.tuning_runs(), *plan.reporting_runs(plan.untuned())]
    ]
    if plan.evaluation.budgets_follow:
        outcomes |= execute("base", [base])
        if outcomes["base"].state == "interrupted":
            return outcomes
    else:
        first = [base, *first]
    outcomes |= execute("tuning" if plan.tuning_runs() else "reporting", first)
    if any(outcome.state == "interrupted" for outcome in outcomes.values()):
        return outcomes
    choices = choose(plan, read_finished(folder, plan.tuning_runs()))
    chosen = {name: setting for name, setting in choices.items() if name not in plan.untuned()}
    if chosen:
        outcomes |= execute("reporting", [run_job(plan, folder, run, override) for run in plan.reporting_runs(chosen)])
    return outcomes


def run_job(plan: Plan, folder: Path, run: Run, override: bool = False) -> Job:
    """Training and evaluation of a run as a job, see `run_plan`; its ``settings.yaml`` is written."""
    run_folder = folder / run.folder
    run_folder.mkdir(parents=True, exist_ok=True)
    write_text(run_folder / SETTINGS, yaml.safe_dump(run_settings(run), sort_keys=False))
    settings = run.method.settings[run.setting]
    flags = [f"--config={run_folder / SETTINGS}", f"--output={run_folder}", "--resume"]
    flags += ["--override"] if override else []
    train = Stage((sys.executable, "-m", "iapo.cli", "train", *flags), (run_folder / REPORT).exists)

    def progress() -> tuple[float, str]:
        try:
            steps = read_metrics(run_folder / METRICS)
            if not steps:
                return 0.0, "starting"
            if train.finished():
                return 1.0, "evaluating"
            budget = settings.get("max_tokens")
            done = sum(step["num_tokens"] for step in steps) / budget if budget else 0.0
            last = steps[-1]
            speed = rate(int(last["num_tokens"]), last["step_time"])
            line = f"update {last['step']} of {settings['steps']}  {summary(last)}  {speed}"
            return max(done, last["step"] / settings["steps"]), line
        except (OSError, ValueError, LookupError, TypeError):  # which the run itself tells; others go on
            return 0.0, "its metrics cannot be read"

    return Job(run.folder, run_folder, (train, _evaluate(plan, folder, run.folder, run.split)), progress)


def check_folders(plan: Plan, folder: Path) -> bool:
    """Refuse a folder that holds a run of this plan with other settings, or with other code.

    Returns:
        Whether a training of this plan has begun.

    Raises:
        ValueError: other settings, of which the first that differ are named; files of code that have changed; a run
            that does not say its settings; or ``folder`` is itself that of a run, or has a page of something else.
    """
    if any((folder / name).exists() for name in ("config.json", METRICS)):
        raise ValueError(
            f"output: {folder} is the folder of a run, whose report a comparison would take the place of; name another "
            "output"
        )
    foreign = [name for name in PAGES if (folder / name).exists()]
    if foreign and not problems_path(folder, "test").exists():
        raise ValueError(
            f"output: {folder} has {foreign[0]}, which is of no comparison and whose place that of one would take; "
            "name another output"
        )
    every = [plan.reporting_runs({method.name: setting}) for method in plan.methods for setting in method.settings]
    begun = False
    for run in [*plan.tuning_runs(), *itertools.chain(*every)]:
        inside = folder / run.folder
        file, config = inside / SETTINGS, inside / "config.json"
        begun = begun or config.exists()
        if not file.exists() and not config.exists():
            continue
        changes = _differences(_settings_in(file), run_settings(run)) or _changed_code(config)
        if changes:
            raise ValueError(
                f"output: {inside} holds a run with other settings ({'; '.join(changes[:3])}); put them back, remove "
                "it, or name another output"
            )
    return begun


def run_settings(run: Run) -> dict[str, Any]:
    """All settings of `iapo train` for a run, except its folder."""
    return {**run.method.settings[run.setting], "seed": run.seed}


def _settings_in(file: Path) -> Any:
    """The settings of a run as `run_job` wrote them."""
    remedy = "remove the folder of the run, or name another output"
    if not file.exists():
        raise ValueError(f"output: {file.parent} holds a run of somebody else, it has no {file.name}; {remedy}")
    try:
        return yaml.safe_load(read_text(file))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{file}: is damaged ({error}); {remedy}") from error


def _changed_code(config: Path) -> list[str]:
    """The files of code that have changed since a run began, as its ``config.json`` says; none if it does not say."""
    try:
        files = dict(read_json_file(config)["files"])
    except (OSError, ValueError, LookupError, TypeError):
        return []
    return [f"{file} has changed since" for file, digest in files.items() if digests([file]).get(file) != digest]


def _differences(found: Any, wanted: Settings) -> list[str]:
    found = found if isinstance(found, dict) else {}
    return [
        f"{name} is {found.get(name)!r}, not {wanted.get(name)!r}"
        for name in {**found, **wanted}
        if json.dumps(found.get(name)) != json.dumps(wanted.get(name))
    ]


def _evaluate(plan: Plan, folder: Path, run: str, split: Split) -> Stage:
    files = str(problems_path(folder, split)), str(folder / run)
    limit = plan.evaluation.settings.get("reward_time_limit")
    limited = () if limit is None else (f"--reward_time_limit={limit}",)
    command = (sys.executable, "-m", "iapo.comparison.running.evaluate", *files, *limited)
    return Stage(command, lambda: is_evaluated(folder, run, split))
