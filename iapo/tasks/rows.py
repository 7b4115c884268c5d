"""The rows of any task, checked: columns found, nothing empty, prompts in one form, text that a tokenizer takes."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from iapo.interfaces import PROMPT_MESSAGES, REWARD_ARGUMENTS, TRL_ARGUMENTS
from iapo.ops.arguments import arguments_named
from iapo.ops.plain_values import plain_value
from iapo.tasks.interface import Row, RowPlace, Split, Task
from iapo.tasks.messages import LastAssistant, plain_prompt, without_surrogates

_LOG = logging.getLogger(__name__)

PROMPT_COLUMNS = ("prompt", "question", "problem", "instruction", "query", "messages", "conversations", "input")
ANSWER_COLUMNS = ("answer", "final_answer", "expected_answer", "ground_truth", "solution", "reward_model", "target")
"""Names that columns of references usually have, and `PROMPT_COLUMNS` of problems; an earlier one is taken first."""
_OF_PROBLEMS = (
    *("input", "context", "passage", "choices", "options", "system", "system_prompt", "tools"),
    *("image", "images", "audio", "audios", "video", "videos"),
)
"""Names of columns that usually hold a part of a problem."""
_FLAGS = ("--prompt_column", "--answer_column")


@arguments_named
def load_rows(
    task: Task,
    split: Split = "train",
    seed: int = 0,
    limit: int | None = None,
    prompt_column: str = "prompt",
    answer_column: str = "answer",
    last_assistant: LastAssistant = "refuse",
) -> list[Row]:
    """Problems as rows with the columns ``prompt``, ``answer`` if the task has references, and whatever else it has.

    All rows have all columns; what a row lacks is ``None``. Columns named like what rewards are given of the policy, or
    by TRL (`iapo.interfaces.REWARD_ARGUMENTS`, `iapo.interfaces.TRL_ARGUMENTS`), are left out. Columns that usually
    hold a part of the problem (``choices``, ``context``, ``images``) and whose values the prompt lacks are not shown to
    the policy. Each is logged once, as a warning.

    Args:
        task: where the problems come from.
        split: which problems, where the task has splits.
        seed: of problems that are generated.
        limit: the largest number of rows; ``None``: all of a fixed set, 4096 generated ones.
        prompt_column: the column that becomes ``prompt``. Where there is no ``prompt``, the first of `PROMPT_COLUMNS`
            that the data have, in small or capital letters, takes its place, and a warning says so.
        answer_column: the column that becomes ``answer``; likewise of `ANSWER_COLUMNS`.
        last_assistant: what becomes of an assistant's message at the end of a prompt.

    Raises:
        ValueError: no rows, a missing column (wanted and found are named), a row without a prompt or, if others have
            one, without an answer, or a prompt that is neither a text nor messages; the row is named. Beside what the
            task itself raises.
    """
    rows = task.rows(split, seed, limit)
    if not rows:
        raise ValueError(f"data: {task} has no rows")
    columns = dict.fromkeys(name for row in rows for name in row)
    prompt_column = _usual(task, columns, prompt_column, PROMPT_COLUMNS)
    answer_column = _usual(task, columns, answer_column, ANSWER_COLUMNS)
    wanted = [prompt_column]
    if answer_column in columns or answer_column != "answer":
        wanted.append(answer_column)
    for index, row in enumerate(rows):
        missing = [column for column in wanted if column not in row]
        if missing:
            flags = [flag for flag, column in zip(_FLAGS, wanted, strict=False) if column in missing]
            raise ValueError(
                f"data: {task} has no column {missing}, it has {sorted(row)} in row {task.place(index)}; "
                f"{' or '.join(flags)} names another"
            )
        empty = [column for column in wanted if _is_empty(row[column])]
        if empty or _is_blank(row[prompt_column]):
            raise ValueError(f"data: {task} has nothing in {empty or [prompt_column]} of row {task.place(index)}")
    kept = _kept_columns(task, rows, list(columns))
    found = []
    for index, row in enumerate(rows):
        try:
            prompt = plain_prompt(row[prompt_column], last_assistant)
        except ValueError as error:
            raise ValueError(f"data: the prompt of row {RowPlace(task, index)} {error}") from error
        full = {name: _plain(row.get(name)) for name in kept} | {"prompt": prompt}
        found.append(full | {"answer": _plain(row[answer_column])} if answer_column in row else full)
    _tell_unseen(task, found, prompt_column, answer_column)
    return found


def _usual(task: Task, columns: Mapping[str, Any], column: str, usual: Sequence[str]) -> str:
    """The column, or where the data lack the one of the default name, another by which such columns often go."""
    if column != usual[0] or column in columns:
        return column
    spelled = {str(name).strip().lower(): name for name in reversed(list(columns))}
    found = next((spelled[name] for name in usual if name in spelled), column)
    if found != column:
        _LOG.warning("data: %s has no column %r, %r is taken (--%s_column)", task, column, found, column)
    return found


def _kept_columns(task: Task, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """The columns that rows keep. A warning says which are left out, and which some rows lack."""
    reserved = [name for name in columns if name in REWARD_ARGUMENTS | TRL_ARGUMENTS | {PROMPT_MESSAGES}]
    if reserved:
        _LOG.warning(
            "data: the columns %s of %s are left out, rewards get something else by these names (what the policy "
            "wrote, say); rename them to use them",
            sorted(reserved),
            task,
        )
    lacking = {name: sum(name not in row for row in rows) for name in columns}
    if some := {name: count for name, count in lacking.items() if count}:
        _LOG.warning("data: of the %d rows of %s some lack columns, which are None there: %s", len(rows), task, some)
    return [name for name in columns if name not in reserved]


def _tell_unseen(task: Task, rows: Sequence[Row], prompt_column: str, answer_column: str) -> None:
    """Warn of columns that usually belong to the problem, and that are no part of the prompt."""
    names = [name for name in rows[0] if str(name).strip().lower() in _OF_PROBLEMS]
    names = [name for name in names if name not in (prompt_column, answer_column)]
    unseen = [name for name in names if any(_lacks(_said(row["prompt"]), row[name]) for row in rows)]
    if unseen:
        _LOG.warning(
            "data: the policy reads the column %r of %s and not %s, which rewards alone get; put into the prompt what "
            "belongs to the problem",
            prompt_column,
            task,
            unseen,
        )


def _said(prompt: str | Sequence[Mapping[str, Any]]) -> str:
    """The texts of a prompt, without white space."""
    texts = [prompt] if isinstance(prompt, str) else [message["content"] for message in prompt]
    return "".join("".join(texts).split())


def _lacks(said: str, value: Any) -> bool:
    """Whether a value holds something, and something that is not in the prompt, white space aside."""
    if isinstance(value, list | tuple):
        return any(_lacks(said, each) for each in value)
    if isinstance(value, dict):
        return any(_lacks(said, each) for each in value.values())
    return not _is_empty(value) and not _is_blank(value) and "".join(str(value).split()) not in said


def _is_empty(value: Any) -> bool:
    """Whether there is nothing: ``None``, NaN, a missing value of pandas, or no element."""
    value = plain_value(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, list | tuple | dict) and not value


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _plain(value: Any) -> Any:
    """Arrays and numbers of NumPy as those of Python, text without lone surrogates; anything else as it is."""
    if isinstance(value, str):
        return without_surrogates(value)
    return plain_value(value)
