"""Finished runs read back from their folders."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from iapo.comparison.running.plan import Method, Plan, Run, Split
from iapo.comparison.running.problems import problems_path
from iapo.evaluation import EvaluationResult, pass_at_k
from iapo.ops.json_files import read_sealed
from iapo.ops.text_files import file_digest
from iapo.training.checkpoints.checkpoint import step_of
from iapo.training.reporting.log import METRICS, metrics_digest, read_metrics

SETTINGS = "settings.yaml"
"""The file of a run's folder with its settings, as a comparison gives them to `iapo train`."""
BASE_FOLDER = "base"
"""Folder of the evaluation of the model that training starts from."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """A finished run.

    Args:
        name: its entry of ``methods``, or ``base``.
        method: ``method`` in the results.
        preset: ``preset`` in the results.
        setting: which setting of the entry.
        seed: of the run; of the base model, that of the sampling.
        split: whose problems it was evaluated on.
        folder: inside that of the comparison.
        evaluation: right or wrong and lengths, problem by problem.
        difficulty: of each problem, if the data have a column of numbers ``difficulty``.
        classes: mean tokens of each class in a completion, problem by problem; none if the task labels no tokens.
        shortest: tokens of the shortest sufficient completion, problem by problem; ``None`` if it is not known.
        steps: the metrics of each update; ``None`` if those of some are gone, so that it is not known what the run
            sampled and how long it took.
        changed: what differed when it went on by ``--override``, one sentence each time.
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
    steps: tuple[dict[str, float], ...] | None
    changed: tuple[str, ...] = ()

    def is_of(self, name: str, setting: str, split: Split) -> bool:
        """Whether it is a run of this setting of an entry, evaluated on the problems of this split."""
        return (self.name, self.setting, self.split) == (name, setting, split)

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
    def tokens_sampled(self) -> int | None:
        """Completion tokens sampled in training."""
        return None if self.steps is None else int(sum(step["num_tokens"] for step in self.steps))

    @property
    def seconds(self) -> float | None:
        """Time of all updates, without start, checkpoints and evaluations."""
        return None if self.steps is None else sum(step["step_time"] for step in self.steps)


def evaluation_file(split: Split) -> str:
    """Name of the file in a run's folder that holds its evaluation on the problems of a split."""
    return f"evaluation-{split}.json"


@dataclass(frozen=True, eq=False)
class RunEvaluation:
    """An evaluation of a run, as its file has it.

    Args:
        result: right or wrong and lengths, problem by problem.
        content: all that the file holds.
    """

    result: EvaluationResult
    content: Mapping[str, Any]


def made_from(problems: Path, run: Path) -> dict[str, str | None]:
    """Digests of the problems and of the settings of a run, by which an evaluation says what it was made from.

    Args:
        problems: the file of the problems.
        run: the run folder; that of the base model has no settings.
    """
    settings = run / SETTINGS
    return {"problems": file_digest(problems), "settings": file_digest(settings) if settings.exists() else None}


def read_evaluation(folder: Path, run: str, split: Split) -> RunEvaluation | None:
    """The evaluation of a run on the problems that the comparison has now.

    Args:
        folder: of the comparison.
        run: the run's folder inside it.
        split: whose problems.

    Returns:
        ``None`` if there is no file.

    Raises:
        OSError: something else than a file is in its place.
        ValueError: it is damaged, or an evaluation on other problems or of another run.
    """
    path, problems = folder / run / evaluation_file(split), problems_path(folder, split)
    if not path.exists() or not problems.exists():
        return None
    content = read_sealed(path)
    wanted = made_from(problems, folder / run)
    if other := [name for name, each in wanted.items() if content.get(name) != each]:
        raise ValueError(f"{path}: was made with other {' and '.join(other)} than this run has")
    return RunEvaluation(EvaluationResult.of_content(content, path), content)


def is_evaluated(folder: Path, run: str, split: Split) -> bool:
    """Whether `read_evaluation` finds an evaluation of the run."""
    try:
        return read_evaluation(folder, run, split) is not None
    except (OSError, ValueError):  # the evaluation that is made next says it if it cannot be written
        return False


def read_reporting(plan: Plan, folder: Path, choices: Mapping[str, str]) -> list[RunResult]:
    """What is finished of the base model and then of the runs that report, each method at its chosen setting."""
    base = _read(
        folder, Run(Method("base", "base", "default", {}), "untrained", plan.evaluation.seed, "test"), BASE_FOLDER
    )
    return ([] if base is None else [base]) + read_finished(folder, plan.reporting_runs(choices))


def read_finished(folder: Path, runs: Sequence[Run]) -> list[RunResult]:
    """Those of these runs that are finished."""
    found = [_read(folder, run, run.folder) for run in runs]
    return [each for each in found if each is not None]


def _read(folder: Path, run: Run, inside: str) -> RunResult | None:
    """A run from the folder ``inside`` that of the comparison; ``None`` if it was not evaluated.

    Warns:
        UserWarning: there is an evaluation, and it is damaged or of something else; or the metrics are.
    """
    try:
        evaluation = read_evaluation(folder, inside, run.split)
    except (OSError, ValueError) as error:
        warnings.warn(
            f"{error}; it does not count, and the same comparison evaluates the run again (without --only_report)",
            stacklevel=2,
        )
        return None
    if evaluation is None:
        return None
    content = evaluation.content
    rows = read_sealed(problems_path(folder, run.split))["rows"]
    difficulty = [row.get("difficulty") for row in rows]
    known = all(isinstance(value, int | float) and not isinstance(value, bool) for value in difficulty)
    return RunResult(
        name=run.method.name,
        method=run.method.method,
        preset=run.method.preset,
        setting=run.setting,
        seed=run.seed,
        split=run.split,
        folder=inside,
        evaluation=evaluation.result,
        difficulty=torch.tensor(difficulty, dtype=torch.float64) if known else None,
        classes={kind: torch.tensor(v, dtype=torch.float64) for kind, v in content.get("classes", {}).items()},
        shortest=torch.tensor(content["shortest"], dtype=torch.float64) if "shortest" in content else None,
        steps=_steps(folder / inside / METRICS, content),
        changed=tuple(content.get("changed", ())),
    )


def _steps(path: Path, content: Mapping[str, Any]) -> tuple[dict[str, float], ...] | None:
    """The metrics of all updates behind the model that was evaluated, ``checkpoint-N`` or one of none.

    Args:
        path: of the metrics.
        content: of the evaluation, which knows their digest.

    Returns:
        ``None`` if those of some are gone, or if they are not those that the run wrote.

    Warns:
        UserWarning: they are.
    """
    model = str(content.get("model"))
    last = step_of(Path(model)) if model.startswith("checkpoint-") else 0
    as_written = metrics_digest(path) == content.get("metrics")
    steps = read_metrics(path) if as_written else []
    fault = f"has the metrics of {len(steps)} of {last} updates" if as_written else "is not what the run wrote"
    if [row["step"] for row in steps] != list(range(1, last + 1)):
        warnings.warn(
            f"{path}: {fault}, so that the tokens and the time of this run are not known; put the file back, or remove "
            "the folder of the run to train it again",
            stacklevel=2,
        )
        return None
    return tuple(steps)
