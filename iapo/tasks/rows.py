"""The rows of any task, checked: columns found, nothing empty, text that a tokenizer takes."""

from typing import Any

from iapo.tasks.interface import Row, Split, Task


def load_rows(
    task: Task,
    split: Split = "train",
    seed: int = 0,
    limit: int | None = None,
    prompt_column: str = "prompt",
    answer_column: str = "answer",
) -> list[Row]:
    """Problems as rows with the columns ``prompt`` and ``answer``, and whatever else the task has.

    Args:
        task: where the problems come from.
        split: which problems, where the task has splits.
        seed: of problems that are generated.
        limit: the largest number of rows; ``None``: all of a fixed set, 4096 generated ones.
        prompt_column: the column that becomes ``prompt``.
        answer_column: the column that becomes ``answer``.

    Raises:
        ValueError: no rows, a missing column (wanted and found are named), or a row without a prompt; beside what the
            task itself raises.
    """
    rows = task.rows(split, seed, limit)
    if not rows:
        raise ValueError(f"data: {task} has no rows")
    for index, row in enumerate(rows):
        missing = [column for column in (prompt_column, answer_column) if column not in row]
        if missing:
            raise ValueError(f"data: {task} has no column {missing}, it has {sorted(row)} (row {index})")
        empty = [column for column in (prompt_column, answer_column) if row[column] is None or row[column] == []]
        if empty or row[prompt_column] == "":
            raise ValueError(f"data: {task} has nothing in {empty or [prompt_column]} of row {index}")
    return [{**row, "prompt": _sound(row[prompt_column]), "answer": _sound(row[answer_column])} for row in rows]


def _sound(value: Any) -> Any:
    """Text without lone surrogates, which no tokenizer takes; anything else as it is."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value
