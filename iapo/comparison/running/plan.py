"""The plan of a comparison: methods, seeds, budget and how runs are evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from iapo.comparison.running.settings import Settings
from iapo.evaluation import ForcedAnswers

Split = Literal["validation", "test"]


@dataclass(frozen=True)
class Method:
    """One entry of ``methods``.

    Args:
        name: its key, and its folder.
        method: ``method`` in the results.
        preset: ``preset`` in the results.
        settings: resolved settings of `iapo train` by the name of the setting: one, or the grid of ``tune``.
    """

    name: str
    method: str
    preset: str
    settings: Mapping[str, Settings]

    @property
    def tuned(self) -> bool:
        """Whether there is a choice to make."""
        return len(self.settings) > 1


@dataclass(frozen=True)
class Tuning:
    """How the strength of a method is chosen.

    Args:
        seeds: one run of every setting with each.
        problems: how many problems a tuning run is evaluated on.
        samples: completions of each.
        tolerance: a setting may be so much less accurate than the best of its grid; the shortest of those is taken.
    """

    seeds: tuple[int, ...] = ()
    problems: int = 128
    samples: int = 8
    tolerance: float = 0.02


@dataclass(frozen=True)
class EvaluationPlan:
    """How a finished run is evaluated.

    Args:
        problems: how many.
        samples: completions of each.
        ks: of Pass@k, Length@k and Ratio@k.
        seed: of problems that are generated, and of the sampling.
        batch: completions sampled together, at most.
        settings: of `iapo train`, those of ``base``: model, data, prompt, sampler and rewards.
        forced: how answers are asked for at budgets, of runs that report and of the base model; its budgets ``None``:
            those that follow from the lengths of the base model's samples. ``None``: not at all.
    """

    problems: int
    samples: int
    ks: tuple[int, ...]
    seed: int
    batch: int
    settings: Settings
    forced: ForcedAnswers | None = None

    @property
    def budgets_follow(self) -> bool:
        """Whether budgets follow from the base model's evaluation, so that nothing else can be evaluated before."""
        return self.forced is not None and self.forced.budgets is None


@dataclass(frozen=True)
class Run:
    """One training run and the problems it is evaluated on; its folder is ``method/setting/seed-N``."""

    method: Method
    setting: str
    seed: int
    split: Split

    @property
    def folder(self) -> str:
        """Folder of the run inside the comparison's."""
        return f"{self.method.name}/{self.setting}/seed-{self.seed}"


@dataclass(frozen=True)
class Plan:
    """A whole comparison, as `iapo.comparison.running.read_plan` reads it from its file."""

    task: str
    data: str
    methods: tuple[Method, ...]
    tuning: Tuning
    reporting_seeds: tuple[int, ...]
    reference: str
    evaluation: EvaluationPlan
    at_once: int
    threads: int

    def tuning_runs(self) -> list[Run]:
        """Every setting of every method that has several, with every tuning seed."""
        return [
            Run(method, setting, seed, "validation")
            for method in self.methods
            if method.tuned
            for setting in method.settings
            for seed in self.tuning.seeds
        ]

    def reporting_runs(self, choices: Mapping[str, str]) -> list[Run]:
        """The reporting seeds of each method in ``choices`` (name to setting)."""
        return [
            Run(method, choices[method.name], seed, "test")
            for method in self.methods
            if method.name in choices
            for seed in self.reporting_seeds
        ]

    def untuned(self) -> dict[str, str]:
        """The choices that need no tuning."""
        return {method.name: next(iter(method.settings)) for method in self.methods if not method.tuned}
