"""A comparison summed up: its methods, the front, what was tuned, and what is not finished."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iapo.comparison.running.choice import tuning_scores
from iapo.comparison.running.plan import Plan
from iapo.comparison.running.results import BASE_FOLDER, RunResult, evaluation_file
from iapo.comparison.running.runner import Outcome
from iapo.comparison.showing.method_summary import MethodSummary, summarize_method
from iapo.comparison.showing.statistics import pareto_front


@dataclass(frozen=True, eq=False)
class TuningRow:
    """One setting of a method's grid.

    Args:
        name: the method's entry.
        setting: the setting.
        runs: its finished tuning runs.
        accuracy: on the tuning problems; ``None`` if a run is missing, so that the setting does not count.
        length: mean tokens, likewise.
        chosen: whether it is the one that reports.
    """

    name: str
    setting: str
    runs: tuple[RunResult, ...]
    accuracy: float | None
    length: float | None
    chosen: bool


_EVEN = 1.05
"""Methods whose tokens sampled differ by at most this ratio count as equal; a larger one is reported."""


@dataclass(frozen=True, eq=False)
class Summary:
    """All that a comparison's report shows.

    Args:
        task: its name in the rows of `results.json`.
        metadata: of the plan, by name; that methods sampled unequal numbers of tokens and that runs went on
            under other conditions, if they did.
        ks: values of k.
        reference: the method that differences are taken to.
        methods: base first; those without a finished reporting run are left out.
        front: names on the Pareto front of accuracy and mean length.
        tuning: every setting of every grid.
        results: every finished run.
        missing: folders of the runs that are not finished.
        failures: last lines of the runs that failed just now, by folder.
    """

    task: str
    metadata: dict[str, str]
    ks: tuple[int, ...]
    reference: str
    methods: tuple[MethodSummary, ...]
    front: tuple[str, ...]
    tuning: tuple[TuningRow, ...]
    results: tuple[RunResult, ...]
    missing: tuple[str, ...]
    failures: dict[str, str]


def summarize(
    plan: Plan,
    folder: Path,
    choices: Mapping[str, str],
    results: Sequence[RunResult],
    outcomes: Mapping[str, Outcome],
) -> Summary:
    """Sum a comparison up.

    Args:
        plan: of the comparison.
        folder: of the comparison.
        choices: the setting of each method.
        results: every finished run.
        outcomes: how jobs went just now.

    Raises:
        ValueError: runs whose reasoning was cut at different budgets.
    """
    groups: dict[str, list[RunResult]] = {"base": [], **{method.name: [] for method in plan.methods}}
    for result in results:
        if result.split == "test":
            groups[result.name].append(result)
    _check_budgets(folder, [run for runs in groups.values() for run in runs])
    reference = groups[plan.reference]
    methods = [summarize_method(name, runs, reference, plan.evaluation.ks) for name, runs in groups.items() if runs]
    lengths = [method.measures["mean_length"].value for method in methods]
    front = pareto_front(lengths, [method.measures["accuracy"].value for method in methods])
    planned = [*plan.tuning_runs(), *plan.reporting_runs(choices)]
    finished = {result.folder for result in results}
    return Summary(
        task=plan.task,
        metadata={**_metadata(plan), **_uneven(methods), **_changed(results)},
        ks=plan.evaluation.ks,
        reference=plan.reference,
        methods=tuple(methods),
        front=tuple(methods[i].name for i in front),
        tuning=_tuning(plan, choices, results),
        results=tuple(results),
        missing=(() if groups["base"] else (BASE_FOLDER,))
        + tuple(run.folder for run in planned if run.folder not in finished)
        + tuple(f"{method.name} (no setting could be chosen)" for method in plan.methods if method.name not in choices),
        failures={name: outcome.message for name, outcome in outcomes.items() if outcome.state == "failed"},
    )


def _check_budgets(folder: Path, runs: Sequence[RunResult]) -> None:
    """Raise ``ValueError`` if the runs were not all cut at the budgets of the first that was cut."""
    wanted = None
    for run in runs:
        curve = run.evaluation.at_budget
        if curve is not None and curve.budgets != (wanted := wanted or curve.budgets):
            raise ValueError(
                f"{folder / run.folder / evaluation_file(run.split)}: cut at the budgets {curve.budgets}, others at "
                f"{wanted}; delete it, and the same comparison evaluates the run again"
            )


def _tuning(plan: Plan, choices: Mapping[str, str], results: Sequence[RunResult]) -> tuple[TuningRow, ...]:
    rows = []
    for method in (method for method in plan.methods if method.tuned):
        scores = tuning_scores(plan, method, results)
        for setting in method.settings:
            runs = tuple(each for each in results if each.is_of(method.name, setting, "validation"))
            accuracy, length = scores.get(setting, (None, None))
            chosen = choices.get(method.name) == setting
            rows.append(TuningRow(method.name, setting, runs, accuracy, length, chosen))
    return tuple(rows)


def _metadata(plan: Plan) -> dict[str, str]:
    settings = plan.evaluation.settings
    tokens = settings.get("max_tokens")
    metadata = {
        "model": str(settings["model"]),
        "data": plan.data,
        "budget of a run": f"{settings['steps']} updates" if tokens is None else f"{tokens} sampled tokens",
        "reporting seeds": ", ".join(map(str, plan.reporting_seeds)),
        "evaluated on": f"{plan.evaluation.problems} problems, {plan.evaluation.samples} samples of each",
    }
    if (forced := plan.evaluation.forced) is not None:
        of = f"of {forced.samples} of these samples at most"
        metadata["answers at budgets"] = f"{of}, asked for with {forced.postfix}"
    if plan.tuning_runs():
        metadata["tuning seeds"] = ", ".join(map(str, plan.tuning.seeds))
        metadata["tuned on"] = f"{plan.tuning.problems} other problems, {plan.tuning.samples} samples of each"
        metadata["chosen"] = (
            f"the shortest setting whose accuracy is at most {plan.tuning.tolerance:g} below the best of its grid"
        )
    return metadata


def _uneven(methods: Sequence[MethodSummary]) -> dict[str, str]:
    trained = sorted((method.tokens_sampled, method.name) for method in methods if method.tokens_sampled)
    if not trained or trained[-1][0] <= _EVEN * trained[0][0]:
        return {}
    (few, least), (many, most) = trained[0], trained[-1]
    return {"unequal budgets": f"{least} sampled {few:,.0f} tokens a run, {most} {many:,.0f}"}


def _changed(results: Sequence[RunResult]) -> dict[str, str]:
    changed = [f"{run.folder} {sentence}" for run in results for sentence in run.changed]
    return {"not one run throughout, by --override": ". ".join(changed)} if changed else {}
