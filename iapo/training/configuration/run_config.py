"""What a run is asked to be: its policy, its problems, its components, its length and its size."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from iapo.interfaces import AdvantageAssigner, MIEstimator, PolicyLoss, Reward, Sampler
from iapo.training.configuration.policy_source import PolicySource
from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.configuration.settings import RunSettings
from iapo.training.configuration.styles import AUTO, StyleSource


@dataclass(frozen=True)
class ComponentChoices:
    """The components of a run as the command line names them: those that need the policy are functions of it.

    Args:
        sampler: makes the sampler from the policy and its tokenizer.
        rewards: reward functions by name.
        estimator: as in `iapo.training.components.Components`.
        assigner: as in `iapo.training.components.Components`; its weights may be schedules.
        loss: as in `iapo.training.components.Components`.
        optimizer: makes the torch optimizer from the policy's parameters.
    """

    sampler: Callable[[nn.Module, Any], Sampler]
    rewards: Mapping[str, Reward]
    estimator: MIEstimator
    assigner: AdvantageAssigner
    loss: PolicyLoss
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass(frozen=True)
class RunConfig:
    """All that a run needs: the policy, the problems, the settings, and the components that it trains with.

    Args:
        policy: where the policy comes from.
        problems: where the problems come from.
        settings: the run's folder, its length and its size.
        choices: the components.
        resolved: all settings as plain data, kept in the run folder and compared on resuming.
        styles: how completions reason and answer; what is found is kept in the run folder, as ``style``.
        command: the command line, for the report.
    """

    policy: PolicySource
    problems: ProblemSource
    settings: RunSettings
    choices: ComponentChoices
    resolved: Mapping[str, Any]
    styles: StyleSource = AUTO
    command: str = ""
