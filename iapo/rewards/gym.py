"""The score that a reasoning-gym task gives its own answers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iapo.rewards.text import completion_text, last_answer


@dataclass(frozen=True)
class ReasoningGymAnswer:
    """What the task's own ``score_answer`` says of the text in the last ``<answer>`` tags; 0 without tags.

    Args:
        task: name of the reasoning-gym task.
        entry_column: the column that holds the task's entry, as JSON.

    Raises:
        ModuleNotFoundError: reasoning-gym (extra ``tasks``) is missing.
    """

    task: str
    entry_column: str = "entry"

    @property
    def required_columns(self) -> tuple[str, ...]:
        """The columns that a batch must have."""
        return (self.entry_column,)

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        """Score a batch; see the class."""
        try:
            from reasoning_gym import get_score_answer_fn
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "reasoning_gym is missing: install the extra, pip install 'iapo[tasks]'"
            ) from error
        score_answer = get_score_answer_fn(self.task)
        scores: list[float | None] = []
        for completion, entry in zip(completions, columns[self.entry_column], strict=True):
            answer = last_answer(completion_text(completion))
            scores.append(0.0 if answer is None else float(score_answer(answer.strip(), json.loads(entry))))
        return scores
