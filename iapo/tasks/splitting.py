"""Rows to train on and rows to evaluate on."""

import hashlib
from collections.abc import Collection, Sequence

from iapo.ops.arguments import arguments_named
from iapo.tasks.interface import Row
from iapo.tasks.messages import problem_key, problem_of


@arguments_named
def hold_out(rows: Sequence[Row], count: int, name: str = "eval_problems") -> tuple[list[Row], list[Row]]:
    """Split rows into those to train on and ``count`` to evaluate on, by a hash of the problem.

    The same problems are held out whatever their order and number of copies, and whatever templates and system prompts
    surround them: a problem (`iapo.tasks.messages.problem_of`) is never on both sides, nor is a copy of it with other
    white space, case, forms of characters or invisible ones (`iapo.tasks.messages.problem_key`).

    Args:
        rows: as `load_rows` gives them, before they are rendered.
        count: how many problems are held out.
        name: of the setting that says so, for errors.

    Returns:
        Rows to train on and rows held out (one per problem).

    Raises:
        ValueError: fewer than ``count + 1`` distinct problems.
    """
    training, held = split_indices(rows, count, name=name)
    return [rows[index] for index in training], [rows[index] for index in held]


def split_indices(
    rows: Sequence[Row],
    count: int,
    without: Collection[int] = (),
    name: str = "eval_problems",
    trains: bool = True,
) -> tuple[list[int], list[int]]:
    """The places of the rows that `hold_out` gives; the problems of the rows ``without`` are on neither side.

    Where nothing trains on the others, all problems may be held out.
    """
    problems = [problem_of(row["prompt"]) for row in rows]
    keys = [problem_key(problem) for problem in problems]
    left_out = {keys[index] for index in without}
    last: dict[str, int] = {}
    for index, key in enumerate(keys):
        if key not in left_out and (key not in last or problems[index] <= problems[last[key]]):
            last[key] = index
    if count > len(last) - trains:
        most = "fewer than" if trains else "at most"
        raise ValueError(f"{name}: got {count}, want {most} the {len(last)} distinct problems of the data")

    def order(key: str) -> bytes:
        return hashlib.sha256(problems[last[key]].encode("utf-8", "replace")).digest()

    chosen = sorted(last, key=order)[:count]
    held = left_out | set(chosen)
    return [index for index, key in enumerate(keys) if key not in held], [last[key] for key in chosen]


def keys_of(rows: Sequence[Row]) -> list[str]:
    """One key for each row; copies of one problem have equal keys."""
    return [problem_key(problem_of(row["prompt"])) for row in rows]
