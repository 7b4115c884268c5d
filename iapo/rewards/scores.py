"""One score per completion from several reward functions; an error says which function it comes from."""

import asyncio
import concurrent.futures
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo import interfaces
from iapo.interfaces import FINISHED, REWARD_ARGUMENTS
from iapo.ops.arguments import arguments_named
from iapo.ops.checks import check_number, is_finite_number
from iapo.ops.correct import CORRECT_ABOVE, correct_by
from iapo.ops.random_state import isolate_rng
from iapo.rewards.calling import RewardFunction, call, scores_of
from iapo.rewards.columns import check_columns
from iapo.rewards.limit import TookTooLong, within

_CALLERS = tuple(
    os.path.join(Path(file).parent, "") for file in (interfaces.__file__, asyncio.__file__, concurrent.futures.__file__)
)
"""Where what calls a reward is."""


@dataclass(frozen=True)
class Scores:
    """Scores of a batch of completions.

    Args:
        total: weighted sum of the scores of all functions, fp32; 0 where every function returned ``None``.
        scored: ``False`` where a function of non-zero weight could not score a completion (``None``). Its total lacks a
            term that the others have, so the completion must be left out, also of its group's baseline.
        by_function: each function's own scores, unweighted, by its name.
        correct_above: see `correct`.
    """

    total: Float[Tensor, " batch"]
    scored: Bool[Tensor, " batch"]
    by_function: dict[str, list[float | None]]
    correct_above: float = CORRECT_ABOVE

    @property
    def columns(self) -> Float[Tensor, "batch reward"]:
        """Each function's scores, unweighted, in the order of the functions; NaN where one returned ``None``."""
        functions = self.by_function.values()
        values = [[math.nan if value is None else value for value in column] for column in functions]
        return torch.tensor(values, dtype=torch.float32).T

    @property
    def correct(self) -> Bool[Tensor, " batch"]:
        """Which completions are correct: those whose score by the first function is above ``correct_above``.

        The other functions may reward form or length, and a wrong answer in the right form is not correct.
        """
        return correct_by(self.columns[:, 0], self.correct_above)

    def select(self, rows: Sequence[int]) -> "Scores":
        """The scores of the completions in these rows, in their order."""
        columns = {name: [values[row] for row in rows] for name, values in self.by_function.items()}
        index = torch.tensor(rows, dtype=torch.long)
        return Scores(self.total[index], self.scored[index], columns, self.correct_above)

    @staticmethod
    def cat(parts: Sequence["Scores"]) -> "Scores":
        """The scores of several batches by the same functions, one after the other."""
        names = parts[0].by_function
        return Scores(
            torch.cat([part.total for part in parts]),
            torch.cat([part.scored for part in parts]),
            {name: [value for part in parts for value in part.by_function[name]] for name in names},
            parts[0].correct_above,
        )


@arguments_named
def score(
    rewards: Mapping[str, RewardFunction],
    prompts: Sequence[Any],
    completions: Sequence[Any],
    completion_ids: Sequence[Sequence[int]],
    columns: Mapping[str, Sequence[Any]],
    weights: Mapping[str, float] | None = None,
    time_limit: float | None = None,
    finished: Sequence[bool] | None = None,
    correct_above: float = CORRECT_ABOVE,
) -> Scores:
    """The weighted sum of all reward functions for every completion: ``total[i] = sum_f weights[f] * f(...)[i]``.

    A function that seeds torch's random numbers does not seed those that samplers draw.

    Args:
        rewards: functions by name, as `iapo.rewards.calling.call` calls them.
        prompts: one per completion.
        completions: one text or chat per completion.
        completion_ids: one token list per completion.
        columns: further columns of the data, each with one entry per completion.
        weights: by a function's name; 1 for those not named. A function of weight 0 is reported and does not count.
        time_limit: seconds that one function may take over the batch, see `iapo.rewards.limit.within`. C code that
            cannot be interrupted needs an `iapo.rewards.IsolatedReward`, which also has a limit per completion.
            ``None``: no limit.
        finished: whether each completion came to its end, which rewards get as ``completion_finished``; ``None``: that
            is not known, and they do not get it.
        correct_above: a completion is correct if its score by the first function is above this.

    Raises:
        ValueError: no functions, a missing column, a column named like an argument of rewards, a weight that is no
            finite number or names no function, a ``time_limit`` that is not positive and finite, a ``correct_above``
            that is no finite number, arguments of different lengths, or a function that returned another number of
            scores, or something that is not a finite number or ``None``; the function and the index are named.
        TimeoutError: a function took longer than ``time_limit``; it is named.
        RuntimeError: a function raised; it is named, its error chained.

    Example:
        >>> words = lambda completions, **_: [float(len(text.split())) for text in completions]
        >>> score({"words": words}, ["q", "q"], ["a b", "c"], [[1, 2], [3]], {}, weights={"words": 0.5}).total
        tensor([1.0000, 0.5000])
    """
    check_columns(rewards, columns)
    check_number("correct_above", correct_above)
    check_number("time_limit", time_limit, "a positive number of seconds", lambda x: x > 0, or_none=True)
    weights = _checked_weights(rewards, {} if weights is None else weights)
    if shadowing := sorted(REWARD_ARGUMENTS & set(columns)):
        raise ValueError(
            f"columns: got {shadowing}, which rewards are given of the policy; rename or remove these columns"
        )
    count = len(completions)
    given = {"prompts": prompts, "completion_ids": completion_ids, **columns}
    if finished is not None:
        given[FINISHED] = finished
    for name, values in given.items():
        if len(values) != count:
            raise ValueError(f"{name}: got {len(values)} entries for {count} completions")
    by_function = {}
    for name, function in rewards.items():
        try:
            arguments = {"completions": completions, **given}
            with isolate_rng():
                values = _within(time_limit, function, {key: _copied(values) for key, values in arguments.items()})
        except TookTooLong:
            raise TimeoutError(
                f"reward {name!r} took longer than {time_limit:g} s for {count} completions; make it faster, "
                "raise reward_time_limit, or put it into an IsolatedReward"
            ) from None
        except (Exception, SystemExit) as error:
            told = f"{type(error).__name__}{f': {error}' if str(error) else ''}{_place_of(error)}"
            raise RuntimeError(f"reward {name!r} raised {told}{_form_of(completions, error)}") from error
        by_function[name] = scores_of(name, values, count)
    rows = [{name: values[row] for name, values in by_function.items() if weights[name]} for row in range(count)]
    total = [math.fsum(weights[name] * value for name, value in row.items() if value is not None) for row in rows]
    scored = [all(value is not None for value in row.values()) for row in rows]
    return Scores(
        torch.tensor(total, dtype=torch.float32), torch.tensor(scored, dtype=torch.bool), by_function, correct_above
    )


def _place_of(error: BaseException) -> str:
    """Where a reward raised: the last line that was reached in the file in which it begins."""
    frames = [each for each in extract_tb(error.__traceback__) if not each.filename.startswith(_CALLERS)]
    own = [each for each in frames if each.filename == frames[0].filename]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


def _form_of(completions: Sequence[Any], error: BaseException) -> str:
    """Where completions of the other form may have made the error: in which form they are, and why."""
    if not isinstance(error, TypeError | AttributeError):
        return ""
    got, other = ("texts", "messages") if all(isinstance(each, str) for each in completions) else ("messages", "texts")
    return f" (completions are {got} here, as prompts are; prompts that are {other} make them {other})"


def _copied(values: Any) -> Any:
    """A list with its own lists and messages, so that what one reward does to them, another one does not see."""
    if isinstance(values, dict):
        return dict(values)
    if not isinstance(values, list):
        return values
    return [_copied(each) if isinstance(each, dict | list) else each for each in values]


def _within(time_limit: float | None, function: RewardFunction, arguments: Mapping[str, Any]) -> Any:
    """What the function returns or raises; ``TookTooLong`` after ``time_limit`` seconds."""
    if time_limit is None:
        return call(function, arguments)
    return within(time_limit, lambda: call(function, arguments))


def _checked_weights(rewards: Mapping[str, RewardFunction], weights: Mapping[str, float]) -> dict[str, float]:
    unknown = sorted(set(weights) - set(rewards))
    if unknown:
        raise ValueError(f"weights: {unknown} name no reward, the rewards are {sorted(rewards)}")
    for name, weight in weights.items():
        if not is_finite_number(weight):
            raise ValueError(f"weights: got {weight!r} for {name!r}, want a finite number")
    return {name: float(weights.get(name, 1.0)) for name in rewards}
