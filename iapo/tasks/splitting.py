"""Rows to train on and rows to evaluate on."""

import hashlib
from collections.abc import Collection, Sequence

from iapo.tasks.interface import Row
from iapo.tasks.messages import problem_of


def hold_out(rows: Sequence[Row], count: int) -> tuple[list[Row], list[Row]]:
    """Split rows into those to train on and ``count`` to evaluate on, by a hash of the problem.

    The same problems are held out whatever their order and number of copies, and whatever templates and system prompts
    surround them: a problem (`iapo.tasks.messages.problem_of`) is never on both sides.

    Args:
        rows: as `load_rows` gives them, before they are rendered.
        count: how many problems are held out.

    Returns:
        Rows to train on and rows held out (one per problem).

    Raises:
        ValueError: fewer than ``count + 1`` distinct problems.
    """
    training, held = split_indices(rows, count)
    return [rows[index] for index in training], [rows[index] for index in held]


def split_indices(rows: Sequence[Row], count: int, without: Collection[int] = ()) -> tuple[list[int], list[int]]:
    """The places of the rows that `hold_out` gives; the problems of the rows ``without`` are on neither side."""
    problems = [problem_of(row["prompt"]) for row in rows]
    left_out = {problems[index] for index in without}
    last = {problem: index for index, problem in enumerate(problems) if problem not in left_out}
    if len(last) <= count:
        raise ValueError(f"eval_problems: got {count}, want fewer than the {len(last)} distinct problems of the data")
    order = sorted(last, key=lambda problem: hashlib.sha256(problem.encode("utf-8", "replace")).digest())[:count]
    held = left_out | set(order)
    return [i for i, problem in enumerate(problems) if problem not in held], [last[problem] for problem in order]
