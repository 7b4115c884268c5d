"""The scoring that runs in the worker process. Imports nothing of the package; see `iapo.rewards.serve`."""

from functools import cache
from typing import Any

from reasoning_gym import get_score_answer_fn

scorer = cache(get_score_answer_fn)


def score_answer(item: list[Any]) -> float:
    """The score that a task gives to an answer: ``item`` is the task's name, the answer, and the entry.

    Raises:
        Exception: the task is unknown, or cannot score even the entry's own answer. An answer that the task fails on
            while it can score its own scores 0.
    """
    task, answer, entry = item
    score = scorer(task)
    try:
        return float(score(answer, entry))
    except Exception:
        score(entry["answer"], entry)
        return 0.0
