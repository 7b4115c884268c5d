"""The result of an evaluation and the measures that follow from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.evaluation.budgets import BudgetCurve
from iapo.evaluation.intervals import Interval, interval
from iapo.evaluation.pass_at import pass_at_k
from iapo.evaluation.samples import Sample, lines_of, samples_beside
from iapo.ops.arguments import arguments_named
from iapo.ops.json_files import read_sealed, write_sealed
from iapo.ops.text_files import write_text

_SAVED = ("correct", "lengths", "greedy_correct", "greedy_lengths")


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What an evaluation sampled, problem by problem.

    Args:
        correct: whether each of a problem's samples was right.
        lengths: tokens of each sample, end of sequence included.
        greedy_correct: whether the greedy completion was right.
        greedy_lengths: tokens of the greedy completion.
        truncated: whether each sample was cut before it ended. ``None``: it is not known.
        at_budget: samples of the same problems with their reasoning cut at budgets. ``None``: it was not measured.
        texts: the text of each sample, its end of sequence included, which `save` does not write. ``None``: the texts
            were not kept.
        samples: all completions with what they were scored by, the greedy ones behind the others. ``None``: not known.

    Raises:
        ValueError: no problems or samples, or shapes that do not agree; they are named.
    """

    correct: Bool[Tensor, "problem sample"]
    lengths: Int[Tensor, "problem sample"]
    greedy_correct: Bool[Tensor, " problem"]
    greedy_lengths: Int[Tensor, " problem"]
    truncated: Bool[Tensor, "problem sample"] | None = None
    at_budget: BudgetCurve | None = None
    texts: tuple[tuple[str, ...], ...] | None = None
    samples: tuple[Sample, ...] | None = None

    def __post_init__(self) -> None:
        if self.correct.ndim != 2 or self.correct.numel() == 0:
            raise ValueError(f"correct: got shape {tuple(self.correct.shape)}, want (problem, sample), both at least 1")
        for name, want in (
            ("lengths", self.correct.shape),
            ("greedy_correct", self.correct.shape[:1]),
            ("greedy_lengths", self.correct.shape[:1]),
        ):
            _check_shape(name, getattr(self, name), want)
        if self.truncated is not None:
            _check_shape("truncated", self.truncated, self.correct.shape)
        if self.at_budget is not None:
            _check_shape("at_budget.correct", self.at_budget.correct[:, 0, 0], self.correct.shape[:1])

    def lengths_where(self, right: bool) -> tuple[Float[Tensor, " problem"], Float[Tensor, " problem"]]:
        """Summed tokens and number of the right (or wrong) completions of each problem.

        The mean length of all of them is the sum of the first over problems divided by that of the second.
        """
        which = self.correct == right
        return (self.lengths * which).double().sum(1), which.double().sum(1)

    def measures(self, ks: Sequence[int] = (1,)) -> dict[str, Interval]:
        """Every measure with its interval.

        Args:
            ks: the values of k; at most the number of samples of a problem.

        Returns:
            ``accuracy`` (Pass@1), ``length`` (mean tokens), ``length_right`` and ``length_wrong`` (mean tokens of all
            right and of all wrong completions; absent if there are none), ``truncated`` (share of the completions that
            were cut before they ended, if it is known), ``greedy_accuracy``, ``greedy_length``, and for each k
            ``pass@k``, ``length@k`` (expected mean length of the k samples: ``length``) and ``ratio@k`` (Pass@k by
            Length@k, as a ratio of means over problems; absent if all completions are empty). If it was measured,
            ``accuracy_at_budget_b`` for each budget b and ``budget_area``, their mean over budgets
            (`iapo.evaluation.BudgetCurve.area`).

        Raises:
            ValueError: a k below 1 or above the number of samples.
        """
        length = self.lengths.double().mean(1)
        apart = {"length_right": self.lengths_where(right=True), "length_wrong": self.lengths_where(right=False)}
        measures = {
            "accuracy": interval(self.correct.double().mean(1)),
            "length": interval(length),
            **{name: interval(*pair) for name, pair in apart.items() if bool(pair[1].any())},
            **({} if self.truncated is None else {"truncated": interval(self.truncated.double().mean(1))}),
            "greedy_accuracy": interval(self.greedy_correct.double()),
            "greedy_length": interval(self.greedy_lengths.double()),
        }
        for k in ks:
            passed = pass_at_k(self.correct.sum(1), self.correct.shape[1], k)
            measures[f"pass@{k}"] = interval(passed)
            measures[f"length@{k}"] = measures["length"]
            if bool(length.any()):
                measures[f"ratio@{k}"] = interval(passed, length)
        if self.at_budget is not None:
            for budget, accuracy in zip(self.at_budget.budgets, self.at_budget.accuracy.T, strict=True):
                measures[f"accuracy_at_budget_{budget}"] = interval(accuracy)
            measures["budget_area"] = interval(self.at_budget.area)
        return measures

    def save(self, path: Path, metadata: Mapping[str, Any] | None = None) -> None:
        """Write the numbers and their digest as JSON; `load` reads them. A process that is killed on the way leaves no
        half of a file.

        The samples are written beside them, into the file that `iapo.evaluation.samples_beside` names, which
        `iapo.evaluation.read_samples` reads.

        Args:
            path: the file; it is replaced if it is there.
            metadata: further entries of the file, which `load` does not look at.
        """
        content = {**(metadata or {}), **{name: getattr(self, name).tolist() for name in _SAVED}}
        if self.truncated is not None:
            content["truncated"] = self.truncated.tolist()
        if self.at_budget is not None:
            budgets, correct = self.at_budget.budgets, self.at_budget.correct
            content["at_budget"] = {"budgets": list(budgets), "correct": correct.tolist()}
        if self.samples is not None:
            write_text(samples_beside(path), lines_of(self.samples))
        write_sealed(path, content)

    @classmethod
    def load(cls, path: Path) -> "EvaluationResult":
        """Read the numbers that `save` wrote. The result has neither texts nor samples.

        Raises:
            FileNotFoundError: the file is not there.
            ValueError: the file is not what `save` wrote, or it holds something else.
        """
        return cls.of_content(read_sealed(path), path)

    @classmethod
    def of_content(cls, content: Mapping[str, Any], path: Path) -> "EvaluationResult":
        """The numbers among what `iapo.ops.json_files.read_sealed` read, which has the metadata of `save` too.

        Args:
            content: of the file.
            path: of the file, for errors.

        Raises:
            ValueError: the file holds something else.
        """
        missing = [name for name in _SAVED if name not in content]
        if missing:
            raise ValueError(f"{path}: want an evaluation, {missing} are missing")
        curve = content.get("at_budget")
        try:
            correct, lengths, greedy_correct, greedy_lengths = (torch.tensor(content[name]) for name in _SAVED)
            return cls(
                correct,
                lengths,
                greedy_correct,
                greedy_lengths,
                truncated=torch.tensor(content["truncated"]) if "truncated" in content else None,
                at_budget=BudgetCurve(tuple(curve["budgets"]), torch.tensor(curve["correct"])) if curve else None,
            )
        except (ValueError, TypeError, LookupError, RuntimeError) as error:
            raise ValueError(f"{path}: holds no numbers of an evaluation ({error})") from error


def _check_shape(name: str, tensor: Tensor, want: Sequence[int]) -> None:
    if tensor.shape != want:
        raise ValueError(f"{name}: got shape {tuple(tensor.shape)}, want {tuple(want)}")


@arguments_named
def change(before: EvaluationResult, after: EvaluationResult) -> dict[str, Interval]:
    """Changes of accuracy and length from one evaluation to another on the same problems, paired by problem.

    Raises:
        ValueError: another number of problems.
    """
    if len(before.correct) != len(after.correct):
        raise ValueError(f"after: got {len(after.correct)} problems, want the {len(before.correct)} of before")
    return {
        "accuracy": interval(after.correct.double().mean(1) - before.correct.double().mean(1)),
        "length": interval(after.lengths.double().mean(1) - before.lengths.double().mean(1)),
    }
