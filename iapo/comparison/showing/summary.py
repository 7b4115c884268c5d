"""A comparison summed up: each method's measures over its runs, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from iapo.comparison.running.choice import tuning_scores
from iapo.comparison.running.plan import Plan
from iapo.comparison.running.results import RunResult, is_evaluated
from iapo.comparison.running.runner import Outcome
from iapo.comparison.showing.statistics import difference_interval, hardest_third, mean_interval, pareto_front
from iapo.evaluation import Interval


@dataclass(frozen=True, eq=False)
class MethodSummary:
    """The reporting runs of a method together.

    Args:
        name: its entry of ``methods``, or ``base``.
        setting: the one that was chosen.
        runs: one per reporting seed that is finished.
        measures: with intervals over seeds and problems: ``accuracy``, ``mean_length``, ``greedy_accuracy``,
            ``greedy_length``, ``pass@k``, ``ratio@k``, and, where the data have them, ``accuracy_hard`` and ``excess``
            (tokens above the shortest sufficient reasoning).
        classes: tokens of each class in a completion.
        by_difficulty: accuracy and mean length by difficulty.
        differences: to the reference method: ``accuracy`` and ``accuracy_hard`` as differences, ``mean_length`` as a
            share of the reference's.
    """

    name: str
    setting: str
    runs: tuple[RunResult, ...]
    measures: dict[str, Interval]
    classes: dict[str, Interval]
    by_difficulty: dict[float, tuple[Interval, Interval]]
    differences: dict[str, Interval]

    @property
    def tokens_sampled(self) -> float:
        """Mean over runs."""
        return sum(run.tokens_sampled for run in self.runs) / len(self.runs)

    @property
    def seconds(self) -> float:
        """Mean over runs."""
        return sum(run.seconds for run in self.runs) / len(self.runs)


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
        metadata: of the plan, by name; that methods sampled unequal numbers of tokens, if they did.
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
    """
    groups: dict[str, list[RunResult]] = {"base": [], **{method.name: [] for method in plan.methods}}
    for result in results:
        if result.split == "test":
            groups[result.name].append(result)
    reference = groups[plan.reference]
    methods = [_method(name, runs, reference, plan.evaluation.ks) for name, runs in groups.items() if runs]
    lengths = [method.measures["mean_length"].value for method in methods]
    front = pareto_front(lengths, [method.measures["accuracy"].value for method in methods])
    planned = [*plan.tuning_runs(), *plan.reporting_runs(choices)]
    return Summary(
        task=plan.task,
        metadata={**_metadata(plan), **_uneven(methods)},
        ks=plan.evaluation.ks,
        reference=plan.reference,
        methods=tuple(methods),
        front=tuple(methods[i].name for i in front),
        tuning=_tuning(plan, folder, choices, results),
        results=tuple(results),
        missing=tuple(run.folder for run in planned if not is_evaluated(folder, run.folder, run.split))
        + tuple(f"{method.name} (no setting could be chosen)" for method in plan.methods if method.name not in choices),
        failures={name: outcome.message for name, outcome in outcomes.items() if outcome.state == "failed"},
    )


def _method(name: str, runs: Sequence[RunResult], reference: Sequence[RunResult], ks: Sequence[int]) -> MethodSummary:
    accuracy, length = _table(runs, lambda run: run.accuracy), _table(runs, lambda run: run.length)
    measures = {
        "accuracy": mean_interval(accuracy),
        "mean_length": mean_interval(length),
        "greedy_accuracy": mean_interval(_table(runs, lambda run: run.evaluation.greedy_correct.double())),
        "greedy_length": mean_interval(_table(runs, lambda run: run.evaluation.greedy_lengths.double())),
    }
    for k in ks:
        passed = torch.stack([run.passed(k) for run in runs])
        measures[f"pass@{k}"] = mean_interval(passed)
        measures[f"ratio@{k}"] = mean_interval(passed, length)
    first = runs[0]
    if first.shortest is not None:
        measures["excess"] = mean_interval(length - first.shortest)
    by_difficulty = {}
    differences = {}
    if reference and runs[0].name != reference[0].name:
        other = _table(reference, lambda run: run.accuracy)
        differences["accuracy"] = difference_interval(accuracy, other)
        lengths = _table(reference, lambda run: run.length)
        differences["mean_length"] = difference_interval(length, lengths, relative=True)
    if first.difficulty is not None:
        hard = hardest_third(first.difficulty)
        measures["accuracy_hard"] = mean_interval(accuracy[:, hard])
        if differences:
            differences["accuracy_hard"] = difference_interval(accuracy[:, hard], other[:, hard])
        for level in sorted(set(first.difficulty.tolist())):
            of = first.difficulty == level
            by_difficulty[level] = mean_interval(accuracy[:, of]), mean_interval(length[:, of])
    classes = {kind: mean_interval(torch.stack([run.classes[kind] for run in runs])) for kind in first.classes}
    return MethodSummary(name, first.setting, tuple(runs), measures, classes, by_difficulty, differences)


def _table(
    runs: Sequence[RunResult], measure: Callable[[RunResult], Float[Tensor, " problem"]]
) -> Float[Tensor, "run problem"]:
    return torch.stack([measure(run) for run in runs])


def _tuning(
    plan: Plan, folder: Path, choices: Mapping[str, str], results: Sequence[RunResult]
) -> tuple[TuningRow, ...]:
    rows = []
    for method in plan.methods:
        if method.tuned:
            scores = tuning_scores(plan, folder, method)
            for setting in method.settings:
                runs = [r for r in results if (r.name, r.setting, r.split) == (method.name, setting, "validation")]
                accuracy, length = scores.get(setting, (None, None))
                chosen = choices.get(method.name) == setting
                rows.append(TuningRow(method.name, setting, tuple(runs), accuracy, length, chosen))
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
