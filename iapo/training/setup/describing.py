"""A run's method and learning rate in words, for its report."""

import dataclasses
from typing import Any

from torch import nn
from torch.optim import Optimizer

from iapo.training.configuration.run_config import ComponentChoices
from iapo.training.configuration.settings import RunSettings


def method_of(choices: ComponentChoices) -> str:
    """The assigner, the estimator and the loss with the settings that are not their defaults."""
    parts = choices.assigner, choices.estimator, choices.loss
    return ", ".join(describe(part) for part in parts)


def learning_rate_of(optimizer: Optimizer, settings: RunSettings) -> str:
    """The learning rate after its rise, and over how many steps it rises."""
    rates = sorted({group.get("initial_lr", group["lr"]) for group in optimizer.param_groups})
    rise = f", rising over {settings.warmup_steps} steps" if settings.warmup_steps else ""
    return f"{' and '.join(f'{rate:g}' for rate in rates)} ({type(optimizer).__name__}{rise})"


def describe(part: Any) -> str:
    """A component by its class, with those of its settings that are numbers, words or components and not the default.

    Example:
        >>> from iapo.advantages import GroupRelative, InformationAware
        >>> describe(InformationAware(GroupRelative(scale="none"), alpha=0.3))
        "InformationAware(outcome=GroupRelative(scale='none'), alpha=0.3)"
    """
    name = type(part).__name__
    if not dataclasses.is_dataclass(part) or isinstance(part, type | nn.Module):
        return name
    shown = []
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if not field.init or field.name.endswith("_ids") or value == default:
            continue
        if isinstance(value, bool | int | float | str):
            shown.append(f"{field.name}={value!r}")
        elif dataclasses.is_dataclass(value):
            shown.append(f"{field.name}={describe(value)}")
    return f"{name}({', '.join(shown)})" if shown else name
