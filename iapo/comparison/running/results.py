"""Finished runs read back from their folders, and their rows in ``results.json``."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from iapo.comparison.running.plan import Plan, Run, Split
from iapo.comparison.running.problems import digest, judging_path
from iapo.comparison.showing.statistics import hardest_third
from iapo.evaluation import EvaluationResult, pass_at_k
from iapo.training.log import read_metrics

BASE_FOLDER = "base"
"""Where the model that training starts from is judged."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """A finished run.

    Args:
        name: its entry of ``methods``, or ``base``.
        method: ``method`` in the results.
        preset: ``preset`` in the results.
        setting: which setting of the entry.
        seed: of the run; of the base model, that of the sampling.
        split: whose problems judged it.
        folder: inside that of the comparison.
        evaluation: right or wrong and lengths, problem by problem.
        difficulty: of each problem, if the data have a column of numbers ``difficulty``.
        classes: of the embedded task, mean tokens of each class in a completion, problem by problem.
        shortest: of the embedded task, tokens of the shortest sufficient reasoning, problem by problem.
        steps: the metrics of each update.
    """

    name: str
    method: str
    preset: str
    setting: str
    seed: int
    split: Split
    folder: str
    evaluation: EvaluationResult
    difficulty: Float[Tensor, " problem"] | None
    classes: dict[str, Float[Tensor, " problem"]]
    shortest: Float[Tensor, " problem"] | None
    steps: tuple[dict[str, float], ...]

    @property
    def accuracy(self) -> Float[Tensor, " problem"]:
        """Share of right completions."""
        return self.evaluation.correct.double().mean(1)

    @property
    def length(self) -> Float[Tensor, " problem"]:
        """Mean tokens of a completion."""
        return self.evaluation.lengths.double().mean(1)

    def passed(self, k: int) -> Float[Tensor, " problem"]:
        """Pass@k."""
        return pass_at_k(self.evaluation.correct.sum(1), self.evaluation.correct.shape[1], k)

    @property
    def tokens_sampled(self) -> int:
        """Completion tokens sampled in training."""
        return int(sum(step["num_tokens"] for step in self.steps))

    @property
    def seconds(self) -> float:
        """Time of all updates, without start, checkpoints and evaluations."""
        return sum(step["step_time"] for step in self.steps)

    def row(self, ks: Sequence[int]) -> dict[str, Any]:
        """The run as a row of ``results.json``; what the data do not have is ``None``."""
        accuracy, length = float(self.accuracy.mean()), float(self.length.mean())
        passed = {k: float(self.passed(k).mean()) for k in ks if k <= self.evaluation.correct.shape[1]}
        hard = None if self.difficulty is None else float(self.accuracy[hardest_third(self.difficulty)].mean())
        return {
            "method": self.method,
            "preset": self.preset,
            "setting": self.setting,
            "seed": self.seed,
            "split": self.split,
            "accuracy": accuracy,
            "mean_length": length,
            "pass_at_k": {str(k): value for k, value in passed.items()},
            "length_at_k": {str(k): length for k in passed},
            "ratio_at_k": {str(k): value / length for k, value in passed.items()},
            "accuracy_hard": hard,
            "greedy_accuracy": float(self.evaluation.greedy_correct.double().mean()),
            "greedy_length": float(self.evaluation.greedy_lengths.double().mean()),
            "shortest_length": None if self.shortest is None else float(self.shortest.mean()),
            "token_classes": {kind: float(tokens.mean()) for kind, tokens in self.classes.items()} or None,
            "problems": len(self.accuracy),
            "samples": self.evaluation.correct.shape[1],
            "tokens_sampled": self.tokens_sampled,
            "seconds": self.seconds,
            "run": self.folder,
        }


def is_judged(folder: Path, run: str, split: Split) -> bool:
    """Whether a run was judged on the problems that the comparison has now."""
    path, problems = folder / run / f"judged-{split}.json", judging_path(folder, split)
    return path.exists() and problems.exists() and json.loads(path.read_text())["problems"] == digest(problems)


def read_run(folder: Path, run: Run) -> RunResult:
    """Read a run that `is_judged`."""
    method = run.method
    return _read(folder, run.folder, run.split, method.name, method.method, method.preset, run.setting, run.seed)


def read_base(folder: Path, seed: int) -> RunResult:
    """Read what was judged of the model that training starts from."""
    return _read(folder, BASE_FOLDER, "test", "base", "base", "default", "untrained", seed)


def read_all(plan: Plan, folder: Path, choices: dict[str, str]) -> list[RunResult]:
    """Every finished run: the base model, those that report, then those that tuned."""
    found = [read_base(folder, plan.judging.seed)] if is_judged(folder, BASE_FOLDER, "test") else []
    runs = [*plan.reporting_runs(choices), *plan.tuning_runs()]
    return found + [read_run(folder, run) for run in runs if is_judged(folder, run.folder, run.split)]


def _read(
    folder: Path, run: str, split: Split, name: str, method: str, preset: str, setting: str, seed: int
) -> RunResult:
    judged = json.loads((folder / run / f"judged-{split}.json").read_text())
    content = json.loads(judging_path(folder, split).read_text(encoding="utf-8"))
    difficulty = [row.get("difficulty") for row in content["rows"]]
    known = all(isinstance(value, int | float) and not isinstance(value, bool) for value in difficulty)
    correct, lengths = torch.tensor(judged["correct"]).bool(), torch.tensor(judged["lengths"])
    greedy = torch.tensor(judged["greedy_correct"]).bool(), torch.tensor(judged["greedy_lengths"])
    classes = {kind: torch.tensor(v, dtype=torch.float64) for kind, v in judged.get("classes", {}).items()}
    return RunResult(
        name=name,
        method=method,
        preset=preset,
        setting=setting,
        seed=seed,
        split=split,
        folder=run,
        evaluation=EvaluationResult(correct, lengths, *greedy),
        difficulty=torch.tensor(difficulty, dtype=torch.float64) if known else None,
        classes=classes,
        shortest=torch.tensor(judged["shortest"], dtype=torch.float64) if "shortest" in judged else None,
        steps=tuple(read_metrics(folder / run / "metrics.jsonl")),
    )
