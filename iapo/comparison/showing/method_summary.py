"""The runs of one method summed up: its measures over seeds and problems, with intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from iapo.comparison.running.results import RunResult
from iapo.comparison.showing.statistics import difference_interval, hardest_third, mean_interval
from iapo.evaluation import BudgetCurve, Interval


@dataclass(frozen=True, eq=False)
class MethodSummary:
    """The reporting runs of a method together.

    Args:
        name: its entry of ``methods``, or ``base``.
        setting: the one that was chosen.
        runs: one per reporting seed that is finished.
        measures: with intervals over seeds and problems: ``accuracy``, ``mean_length``, ``greedy_accuracy``,
            ``greedy_length``, ``pass@k``, ``ratio@k`` (absent if all completions are empty), and, where they are known,
            ``length_right`` and ``length_wrong`` (mean tokens of right and of wrong completions), ``truncated`` (share
            of completions that were cut before they ended), ``budget_area`` (`iapo.evaluation.BudgetCurve.area`),
            ``accuracy_hard`` and ``excess`` (tokens above the shortest sufficient reasoning).
        classes: tokens of each class in a completion.
        by_difficulty: accuracy and mean length by difficulty.
        by_budget: accuracy with the reasoning cut at a number of tokens, by that number.
        differences: to the reference method: ``accuracy``, ``accuracy_hard`` and ``budget_area`` as differences,
            ``mean_length`` as a share of the reference's.
    """

    name: str
    setting: str
    runs: tuple[RunResult, ...]
    measures: dict[str, Interval]
    classes: dict[str, Interval]
    by_difficulty: dict[float, tuple[Interval, Interval]]
    by_budget: dict[int, Interval]
    differences: dict[str, Interval]

    @property
    def tokens_sampled(self) -> float | None:
        """Mean over runs; ``None`` if it is not known of one."""
        return _mean([run.tokens_sampled for run in self.runs])

    @property
    def seconds(self) -> float | None:
        """Mean over runs; ``None`` if it is not known of one."""
        return _mean([run.seconds for run in self.runs])


def summarize_method(
    name: str, runs: Sequence[RunResult], reference: Sequence[RunResult], ks: Sequence[int]
) -> MethodSummary:
    """Sum up the reporting runs of a method.

    Args:
        name: its entry of ``methods``, or ``base``.
        runs: at least one, all on the same problems.
        reference: the runs of the method that differences are taken to; none if they are not finished.
        ks: of Pass@k and Ratio@k.
    """
    first, other = runs[0], reference if reference and runs[0].name != reference[0].name else ()
    accuracy, length = _table(runs, _accuracy), _table(runs, _length)
    measures = {"accuracy": mean_interval(accuracy), "mean_length": mean_interval(length), **_lengths(runs)}
    measures["greedy_accuracy"] = mean_interval(_table(runs, lambda run: run.evaluation.greedy_correct.double()))
    measures["greedy_length"] = mean_interval(_table(runs, lambda run: run.evaluation.greedy_lengths.double()))
    for k in ks:
        passed = torch.stack([run.passed(k) for run in runs])
        measures[f"pass@{k}"] = mean_interval(passed)
        if bool(length.any()):
            measures[f"ratio@{k}"] = mean_interval(passed, length)
    if first.shortest is not None:
        measures["excess"] = mean_interval(length - first.shortest)
    differences = {}
    if other:
        differences["accuracy"] = difference_interval(accuracy, _table(other, _accuracy))
        if bool((lengths := _table(other, _length)).any()):
            differences["mean_length"] = difference_interval(length, lengths, relative=True)
    by_difficulty = {}
    if first.difficulty is not None:
        hard = hardest_third(first.difficulty)
        measures["accuracy_hard"] = mean_interval(accuracy[:, hard])
        if other:
            differences["accuracy_hard"] = difference_interval(accuracy[:, hard], _table(other, _accuracy)[:, hard])
        for level in sorted(set(first.difficulty.tolist())):
            of = first.difficulty == level
            by_difficulty[level] = mean_interval(accuracy[:, of]), mean_interval(length[:, of])
    by_budget: dict[int, Interval] = {}
    if curves := _curves(runs):
        areas = torch.stack([curve.area for curve in curves])
        measures["budget_area"] = mean_interval(areas)
        for index, budget in enumerate(curves[0].budgets):
            by_budget[budget] = mean_interval(torch.stack([curve.accuracy[:, index] for curve in curves]))
        if others := _curves(other):
            difference = difference_interval(areas, torch.stack([curve.area for curve in others]))
            differences["budget_area"] = difference
    classes = {kind: mean_interval(torch.stack([run.classes[kind] for run in runs])) for kind in first.classes}
    return MethodSummary(
        name=name,
        setting=first.setting,
        runs=tuple(runs),
        measures=measures,
        classes=classes,
        by_difficulty=by_difficulty,
        by_budget=by_budget,
        differences=differences,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(values) if len(known) == len(values) else None


def _lengths(runs: Sequence[RunResult]) -> dict[str, Interval]:
    """Mean length of right and of wrong completions, and the share that was cut, as far as there are any."""
    found = {}
    for name, right in (("length_right", True), ("length_wrong", False)):
        pairs = [run.evaluation.lengths_where(right) for run in runs]
        tokens, number = (torch.stack([pair[part] for pair in pairs]) for part in (0, 1))
        if bool(number.any()):
            found[name] = mean_interval(tokens, number)
    truncated = [run.evaluation.truncated for run in runs]
    known = [each.double().mean(1) for each in truncated if each is not None]
    if len(known) == len(runs):
        found["truncated"] = mean_interval(torch.stack(known))
    return found


def _curves(runs: Sequence[RunResult]) -> list[BudgetCurve]:
    """The curves over budgets of all runs; none if a run has none."""
    found = [run.evaluation.at_budget for run in runs]
    curves = [curve for curve in found if curve is not None]
    return curves if len(curves) == len(runs) else []


def _accuracy(run: RunResult) -> Float[Tensor, " problem"]:
    return run.accuracy


def _length(run: RunResult) -> Float[Tensor, " problem"]:
    return run.length


def _table(
    runs: Sequence[RunResult], measure: Callable[[RunResult], Float[Tensor, " problem"]]
) -> Float[Tensor, "run problem"]:
    return torch.stack([measure(run) for run in runs])
