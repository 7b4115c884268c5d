"""The curve of accuracy over budgets of reasoning tokens, its area, and the budgets to measure it at."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.ops.shapes import shape_checked

_STEPS = 9
"""Budgets of `default_budgets` beside 0."""

MOST_BUDGETS = 1 + _STEPS
"""How many `default_budgets` there are at most."""

_WITHIN = 0.95
"""Share of the completions whose reasoning is no longer than the largest of `default_budgets`."""


@dataclass(frozen=True, eq=False)
class BudgetCurve:
    """Which completions are right when their reasoning is cut at a budget and the answer is asked for there.

    Args:
        budgets: reasoning tokens at which completions were cut, rising from 0. At 0 the answer is asked for at once.
        correct: whether each of a problem's completions was right at each budget. One whose reasoning is no longer
            than the budget keeps the answer that it gave.

    Raises:
        ValueError: budgets that do not rise from 0, or another number of them than ``correct`` has.

    Example:
        >>> curve = BudgetCurve((0, 4, 8), torch.tensor([[[False, True, True], [False, False, True]]]))
        >>> curve.accuracy.tolist(), curve.area.tolist()
        ([[0.0, 0.5, 1.0]], [0.5])
    """

    budgets: tuple[int, ...]
    correct: Bool[Tensor, "problem sample budget"]

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in itertools.pairwise(self.budgets))
        if self.budgets[:1] != (0,) or not rising:
            raise ValueError(f"budgets: got {self.budgets}, want numbers of tokens that rise from 0")
        if self.correct.ndim != 3 or self.correct.shape[2] != len(self.budgets):
            raise ValueError(
                f"correct: got shape {tuple(self.correct.shape)}, want three axes, the last of {len(self.budgets)}, "
                "from budgets"
            )

    @property
    def accuracy(self) -> Float[Tensor, "problem budget"]:
        """Share of a problem's completions that are right at each budget, float64."""
        return self.correct.double().mean(1)

    @property
    def area(self) -> Float[Tensor, " problem"]:
        """Mean accuracy of a problem over all budgets ``b`` from 0 to the largest, ``B``, float64.

        ``(1 / B) * integral of accuracy(b) db`` over ``0 <= b <= B``, on a linear axis of reasoning tokens, with the
        accuracy linear between the budgets (trapezoid rule). It lies between 0 and 1, and curves over the same ``B``
        can be compared. With 0 as the only budget it is the accuracy there.
        """
        if len(self.budgets) == 1:
            return self.accuracy[:, 0]
        tokens = torch.tensor(self.budgets, dtype=torch.float64, device=self.correct.device)
        return torch.trapezoid(self.accuracy, tokens) / tokens[-1]


@shape_checked
def default_budgets(reasoning_lengths: Int[Tensor, " completion"]) -> tuple[int, ...]:
    """Budgets for completions that reason so long: 0, and nine that fall from the 95th percentile by ``sqrt(2)`` each.

    The curve is measured densely where completions are short, whatever their scale; a few completions that never end
    do not stretch its axis.

    Args:
        reasoning_lengths: reasoning tokens of each completion, at least one completion.

    Returns:
        Rising numbers of tokens, rounded, each once. ``(0,)`` if 95% of the completions do not reason.

    Raises:
        ValueError: no completion.

    Example:
        >>> default_budgets(torch.tensor([32, 30, 8]))
        (0, 2, 3, 4, 6, 8, 11, 16, 23, 32)
    """
    if len(reasoning_lengths) == 0:
        raise ValueError("reasoning_lengths: got none, want at least one completion")
    ordered = reasoning_lengths.sort().values
    longest = int(ordered[math.ceil(_WITHIN * len(ordered)) - 1])
    return with_zero([round(longest / 2 ** (step / 2)) for step in range(_STEPS)])


def with_zero(budgets: Sequence[int]) -> tuple[int, ...]:
    """Budgets in rising order, each once, from 0, where the area begins.

    Example:
        >>> with_zero([16, 4, 4])
        (0, 4, 16)
    """
    return tuple(sorted({0, *budgets}))
