"""Reward functions to one reward per completion, with every fault of a function named."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

RewardFunction = Callable[..., list[float | None]]
"""A function with the signature of `iapo.Reward`."""


@dataclass(frozen=True)
class Scores:
    """Scores of a batch of completions.

    Args:
        total: sum of what the functions gave; 0 where none gave anything.
        scored: ``False`` where a function could not judge a completion (``None``). Such a completion is to be left out,
            so that it does not move its group's baseline.
        by_function: each function's own numbers, by its name.
    """

    total: Float[Tensor, " batch"]
    scored: Bool[Tensor, " batch"]
    by_function: dict[str, list[float | None]]


def score(
    rewards: Mapping[str, RewardFunction],
    prompts: Sequence[Any],
    completions: Sequence[Any],
    completion_ids: Sequence[Sequence[int]],
    columns: Mapping[str, Sequence[Any]],
) -> Scores:
    """The sum of all reward functions for every completion.

    Args:
        rewards: functions by name.
        prompts: one per completion.
        completions: one text or chat per completion.
        completion_ids: one token list per completion.
        columns: further columns of the data, each with one entry per completion.

    Raises:
        ValueError: no functions, a missing column, or a function that returned another number of scores, or something
            that is not a finite number or ``None``; the function and the index are named.
        RuntimeError: a function raised; it is named, its error chained.
    """
    check_columns(rewards, columns)
    by_function = {}
    for name, function in rewards.items():
        try:
            values = function(prompts=prompts, completions=completions, completion_ids=completion_ids, **columns)
        except Exception as error:
            raise RuntimeError(f"reward {name!r} raised {type(error).__name__}: {error}") from error
        by_function[name] = _checked(name, values, len(completions))
    scored = [all(value is not None for value in values) for values in zip(*by_function.values(), strict=True)]
    total = [math.fsum(v for v in values if v is not None) for values in zip(*by_function.values(), strict=True)]
    return Scores(torch.tensor(total, dtype=torch.float32), torch.tensor(scored, dtype=torch.bool), by_function)


def check_columns(rewards: Mapping[str, RewardFunction], columns: Iterable[str]) -> None:
    """Raise ``ValueError`` if there is no reward, or one whose ``required_columns`` are not all among ``columns``."""
    if not rewards:
        raise ValueError("rewards: got none, want at least one")
    found = sorted(columns)
    for name, function in rewards.items():
        missing = sorted(set(getattr(function, "required_columns", ())) - set(found))
        if missing:
            raise ValueError(f"reward {name!r} needs the columns {missing}, the data has {found}")


def _checked(name: str, values: Any, count: int) -> list[float | None]:
    if not isinstance(values, Sequence) or len(values) != count:
        got = f"{len(values)} scores" if isinstance(values, Sequence) else type(values).__name__
        raise ValueError(f"reward {name!r}: got {got}, want a list of {count}, one per completion")
    for index, value in enumerate(values):
        if value is not None and (not isinstance(value, int | float) or not math.isfinite(value)):
            raise ValueError(f"reward {name!r}: score at index {index} is {value!r}, want a finite number or None")
    return [None if value is None else float(value) for value in values]
