"""The score that a reasoning-gym task gives its own answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from iapo.ops.checks import check_integer, check_kinds
from iapo.ops.extras import check_installed
from iapo.rewards.columns import column
from iapo.rewards.text import judged_texts
from iapo.rewards.worker import Failure, KillableWorker
from iapo.styles import CompletionStyle


@dataclass(frozen=True)
class ReasoningGymAnswer:
    """The score that the task's own ``score_answer`` gives to a completion's final answer; 0 without one.

    Some tasks hand the answer to sympy's parser, which evaluates it as Python: they run in a worker process that is
    killed at the time limit; the process is no sandbox. An answer that takes too long or crashes the worker scores 0.

    Args:
        task: name of the reasoning-gym task.
        entry_column: the column that holds the task's entry (question, answer, metadata), a mapping or its JSON text.
        time_limit: seconds that the score of an answer may compute, however busy the machine is.
        longest: an answer of more characters scores 0 without being read.
        lenient: count an answer too where the completion was cut before its end (as ``completion_finished`` says, which
            the loop gives), in the middle of the answer too, or where nothing marks the answer: then the whole text is
            the answer.
        style: where the answer stands; ``None``: the style of the run, and alone the last ``<answer>`` tags.

    Warns:
        UserWarning: on a call, an answer took too long, or ended the worker.

    Raises:
        ValueError: a ``time_limit`` that is not positive and finite, ``longest`` below 1, or on a call, a column of
            another length, or with something else than an entry; the index is named.
        KeyError: on a call, the column is missing.
        RuntimeError: on a call, the task is unknown or cannot score an entry's own answer; the index is named.
        ModuleNotFoundError: on a call, reasoning-gym (extra ``tasks``) is missing.

    References:
        reasoning-gym, https://github.com/open-thought/reasoning-gym
    """

    task: str
    entry_column: str = "entry"
    time_limit: float = 3.0
    longest: int = 2000
    lenient: bool = False
    style: CompletionStyle | None = None
    _worker: KillableWorker = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_kinds(self)
        check_integer("longest", self.longest)
        scorer = Path(__file__).with_name("gym_score.py")
        object.__setattr__(self, "_worker", KillableWorker(scorer, "score_answer", self.time_limit, computes=True))

    @property
    def required_columns(self) -> tuple[str, ...]:
        """The columns that a batch must have."""
        return (self.entry_column,)

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        """Score a batch: for each completion the task's own score, from 0 to 1."""
        check_installed("reasoning_gym", "tasks")
        entries = column(self, columns, self.entry_column, len(completions))
        style = self.style or CompletionStyle()
        texts = judged_texts(completions, columns, self.lenient)
        marked = [style.answer_in(text, self.lenient) for text in texts]
        answers = [text if found is None and self.lenient else found for text, found in zip(texts, marked, strict=True)]
        return [self._grade(index, *pair) for index, pair in enumerate(zip(answers, entries, strict=True))]

    def unreadable_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """The indices of the rows whose entry is none of a task, for set-up to name them before anything is sampled."""
        return [index for index, row in enumerate(rows) if _read(row.get(self.entry_column)) is None]

    def in_style(self, style: CompletionStyle) -> "ReasoningGymAnswer":
        """The reward that reads by ``style``, unless it has a style of its own."""
        return self if self.style is not None else replace(self, style=style)

    def close(self) -> None:
        """End the worker process; the next call that needs one starts another."""
        self._worker.close()

    def _grade(self, index: int, answer: str | None, entry: Any) -> float:
        if answer is None or len(answer) > self.longest:
            return 0.0
        item = _read(entry)
        if item is None:
            raise ValueError(
                f"{self.entry_column}: got {entry!r:.80} for completion {index}, want the entry that the task "
                f"{self.task} made, a mapping or its text in JSON"
            )
        score = self._worker.apply([self.task, answer.strip(), item])
        if not isinstance(score, Failure):
            return float(score)
        if score.reason == "error":
            raise RuntimeError(f"{self.task}, completion {index}: {score.message}")
        score.warn(type(self).__name__, f"scoring an answer of {self.task}", self.time_limit)
        return 0.0


def _read(entry: Any) -> dict[str, Any] | None:
    """The entry that stands in a column; ``None`` if it is neither a mapping nor the text of one in JSON."""
    try:
        item = json.loads(entry) if isinstance(entry, str) else entry
    except (ValueError, RecursionError):
        return None
    return dict(item) if isinstance(item, Mapping) else None
