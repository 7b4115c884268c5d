"""The reward for a completion that is not longer than a limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iapo.ops.checks import check_integer


@dataclass(frozen=True)
class WithinLength:
    """1 if a completion has at most ``max_length`` tokens, 0 if not, whatever it says.

    It is a reward of its own beside that for correctness, as `iapo.advantages.GDPO` normalizes them apart. Rewards by
    length that depend on the group, or on correctness, are `iapo.advantages.RewardShaping`.

    Args:
        max_length: tokens, at least 1; the end-of-sequence token counts.

    Returns:
        One number per completion.

    Raises:
        ValueError: ``max_length`` below 1.

    Example:
        >>> WithinLength(max_length=2)(["q", "q"], ["a b", "a b c"], [[1, 2], [1, 2, 3]])
        [1.0, 0.0]
    """

    max_length: int

    def __post_init__(self) -> None:
        check_integer("max_length", self.max_length)

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
        **columns: Any,
    ) -> list[float | None]:
        """Score a batch: 1 for a completion within the limit, else 0."""
        return [float(len(ids) <= self.max_length) for ids in completion_ids]
