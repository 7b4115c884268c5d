"""What `iapo eval` is asked for: which models, on which problems, how many samples, at which budgets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import nn

from iapo.evaluation import ForcedAnswers
from iapo.interfaces import Reward, Sampler
from iapo.ops.correct import CORRECT_ABOVE
from iapo.rewards.rollouts import TIME_LIMIT
from iapo.styles import CompletionStyle
from iapo.tasks.splitting import split_indices
from iapo.training.configuration.policy_source import PolicySource
from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.configuration.ranges import FiniteFloat, PositiveFiniteFloat, Seed, check_ranges
from iapo.training.configuration.styles import AUTO, StyleSource
from iapo.training.setup.problems import Problems


@dataclass(frozen=True)
class EvaluationSettings:
    """An evaluation: of which models, on how many problems.

    Args:
        models: directories, checkpoints, hub ids, GGUF files.
        seed: of the problems and of the sampling.
        problems: how many problems, those held out by the same number in training; at most all of the data.
        samples: completions of each problem.
        ks: of Pass@k, Length@k and Ratio@k, none above the samples; null is 1, 2, 4 and so on up to the samples.
        budgets: reasoning tokens at which the samples are cut and their answers asked for; auto takes them from the
            lengths of the first model's samples, an empty list does not measure it.
        budget_samples: so many samples of each problem are cut, at most.
        answer_tokens: of an answer that is asked for, at most.
        reward_time_limit: seconds that a reward function may take over completions that are sampled together: a model's
            samples, its likeliest completions, or the answers at budgets.
        correct_above: a completion is right if the first of the rewards gives it more than this.
        output: a .json file for all numbers, with all sampled texts in a .jsonl file beside it; a table goes to
            standard output.

    Raises:
        ValueError: no model, or one twice, a number out of range, a k above ``samples`` or below 1, or a negative
            budget.
    """

    models: list[str] = field(default_factory=lambda: ["embedded"])
    seed: Seed = 0
    problems: PositiveInt = 256
    samples: PositiveInt = 32
    ks: list[int] | None = None
    budgets: Literal["auto"] | list[NonNegativeInt] = "auto"
    budget_samples: PositiveInt = 8
    answer_tokens: PositiveInt = 32
    reward_time_limit: PositiveFiniteFloat | None = TIME_LIMIT
    correct_above: FiniteFloat = CORRECT_ABOVE
    output: str | None = None

    def __post_init__(self) -> None:
        check_ranges(self)
        if not self.models or len(set(map(_place, self.models))) < len(self.models):
            raise ValueError(f"models: got {self.models}, want at least one, and each once")
        if self.output is not None and Path(self.output).suffix == ".jsonl":
            raise ValueError(f"output: got {self.output}, want a name ending in .json; texts go beside it into .jsonl")
        wrong = [k for k in self.measured_ks if not 1 <= k <= self.samples]
        if wrong:
            raise ValueError(f"ks: got {wrong}, want 1 to the number of samples, {self.samples}")

    @property
    def measured_ks(self) -> list[int]:
        """``ks``, or the powers of two that stand for it."""
        return [1 << power for power in range(self.samples.bit_length())] if self.ks is None else self.ks

    def forced(self, style: CompletionStyle) -> ForcedAnswers | None:
        """How answers are asked for at budgets, with the texts of a style; ``None``: not at all.

        Raises:
            ValueError: budgets, but no text that asks for an answer, or a negative budget.
        """
        if not self.budgets:
            return None
        budgets = None if self.budgets == "auto" else tuple(self.budgets)
        return ForcedAnswers(style.postfix, style.closing, budgets, self.answer_tokens, self.budget_samples)


def _place(model: str) -> str:
    """Where a model is: of a file or folder its one path, however it is written."""
    path = Path(model).expanduser()
    return str(path.resolve()) if model != "embedded" and path.exists() else model


@dataclass(frozen=True)
class EvaluationConfig:
    """All that an evaluation needs: the policy, the problems, the settings, and the components that it uses.

    Args:
        policy: device and precision; its model is replaced by each of the models.
        problems: where the problems come from.
        settings: models, numbers and output.
        sampler: makes the sampler from a model and its tokenizer.
        rewards: reward functions by name; the first one says which completions are right.
        styles: how completions reason and answer; where it is not known, each model's own samples show it.
    """

    policy: PolicySource
    problems: ProblemSource
    settings: EvaluationSettings
    sampler: Callable[[nn.Module, Any], Sampler]
    rewards: Mapping[str, Reward]
    styles: StyleSource = AUTO

    def held_out(self) -> Problems:
        """The problems that all models are evaluated on, as the data have them."""
        problems = Problems.read(self.problems, self.settings.seed)
        problems.check(self.rewards)
        count, shots = self.settings.problems, problems.shots
        _, held = split_indices(problems.rows, count, without=shots, name="problems", trains=False)
        return problems.select(held)
