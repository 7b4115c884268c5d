"""The interface of a task: where its problems come from, and what is known about completions of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from iapo.ops.hooks import Hooked
from iapo.styles import CompletionStyle

Row = dict[str, Any]
"""A problem: ``prompt`` (a text or chat messages), ``answer`` (the reference), and columns that rewards may read."""

Numbered = list[tuple[int | None, Row]]
"""Rows and the lines that they begin in, counted from 1; ``None`` where rows have no lines of their own."""

Split = Literal["train", "validation", "test"]

Classifier = Callable[[str, str], Sequence[str]]
"""From a prompt and a completion, its end of sequence included, to the class of each token of the completion."""


@dataclass(frozen=True)
class RowPlace:
    """A row of a task, whose text names it in errors: ``3 (line 5) of train.jsonl``.

    Args:
        task: where the row comes from.
        index: of the row.
    """

    task: "Task"
    index: int

    def __str__(self) -> str:
        return f"{self.task.place(self.index)} of {self.task}"


def short_place(number: object) -> str:
    """The number of a row alone, for lists of rows in errors."""
    return str(number.index if isinstance(number, RowPlace) else number)


class Task(Hooked, ABC):
    """Problems by split and seed. A task of one's own is one class that implements `rows`.

    Implementations that have parameters are frozen dataclasses. Their text (``str``) names them in reports and errors.

    Example:
        >>> class Doubling(Task):
        ...     def rows(self, split="train", seed=0, limit=None):
        ...         return [{"prompt": f"{i}+{i}=", "answer": str(2 * i)} for i in range(100)][:limit]
        >>> Doubling(), Doubling().rows(limit=1), Doubling().holds_out
        (Doubling(), [{'prompt': '0+0=', 'answer': '0'}], True)
    """

    disjoint_splits: bool = False
    """Whether the splits share no problem, whatever their seeds. Comparisons then evaluate on validation and test."""

    seeded: bool = False
    """Whether another seed gives other problems. ``False``: the problems are a fixed set, such as those of a file."""

    classes: tuple[str, ...] = ()
    """Every class that `classifier` may give to a token, in the order in which tables show them."""

    style: CompletionStyle | None = None
    """How completions of this task reason and answer; ``None``: as the policy's own samples show."""

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}()"

    @property
    def holds_out(self) -> bool:
        """Whether training must hold out what is evaluated on, as neither another split nor another seed gives it."""
        return not (self.disjoint_splits or self.seeded)

    @abstractmethod
    def rows(self, split: Split = "train", seed: int = 0, limit: int | None = None) -> list[Row]:
        """The problems of a split.

        Args:
            split: which problems; without effect on a task that has no splits.
            seed: of problems that are generated; without effect on a fixed set.
            limit: the largest number of problems; ``None``: all of a fixed set, 4096 generated ones.

        Returns:
            At least one row, each with ``prompt`` and ``answer``.
        """

    def place(self, index: int) -> str:
        """Where the row of that index is found, for errors: ``3``, of a file ``3 (line 5)``."""
        return str(index)

    def classifier(self, tokenizer: Any, prompts: Sequence[str]) -> Classifier | None:
        """The rule that labels the tokens of completions, or ``None`` if there is none for these prompts and tokens.

        Args:
            tokenizer: of the policy, whose tokens would be labeled.
            prompts: as the policy reads them.
        """
        return None

    def shortest_length(self, prompt: str, tokenizer: Any) -> int | None:
        """Tokens of the shortest completion that reasons sufficiently about ``prompt``; ``None`` if it is not known."""
        return None
