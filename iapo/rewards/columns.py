"""What rewards read of the data: columns, rows and references. What is missing is said before anything is sampled."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from iapo.ops.arguments import arguments_named
from iapo.ops.checks import named_kind
from iapo.rewards.calling import RewardFunction, wanted_columns
from iapo.rewards.text import accepted_answers


@arguments_named
def check_columns(rewards: Mapping[str, RewardFunction], columns: Iterable[str]) -> None:
    """Raise ``ValueError`` if there is no reward, one that cannot be called, or one that needs a column which is not
    among ``columns``.

    A reward needs its ``required_columns``, and what its signature names without a default.
    """
    if not isinstance(rewards, Mapping):
        raise ValueError(f"rewards: got {type(rewards).__name__}, want a mapping of functions by name")
    if not rewards:
        raise ValueError("rewards: got none, want at least one")
    found = sorted(columns)
    for name, function in rewards.items():
        if isinstance(function, type) or not callable(function):
            got = named_kind(function) if isinstance(function, type) else repr(function)
            raise ValueError(f"rewards: {name!r} is {got}, want a function, or an object that can be called")
        missing = sorted(wanted_columns(function) - set(found))
        if "trainer_state" in missing:
            raise ValueError(
                f"reward {name!r} needs trainer_state, which only TRL's trainer has; give the parameter a default"
            )
        if missing:
            raise ValueError(
                f"reward {name!r} needs the columns {missing}, the data has {found}; answer_column says which column "
                "has the reference answers"
            )


def check_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise ``ValueError`` unless ``rows`` are problems: at least one, each a mapping with a ``prompt``."""
    if not hasattr(rows, "__len__") or isinstance(rows, Mapping):
        raise ValueError(f"rows: got {named_kind(rows)}, want a list of mappings, one for each problem")
    if len(rows) == 0:
        raise ValueError("rows: got none, want at least one problem")
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise ValueError(f"rows[{index}]: got {named_kind(row)}, want a mapping with a 'prompt'")
        if "prompt" not in row:
            raise ValueError(f"rows[{index}]: has no 'prompt', its columns are {sorted(map(str, row))}")


@arguments_named
def check_references(
    rewards: Mapping[str, RewardFunction], rows: Sequence[Mapping[str, Any]], numbers: Sequence[object] | None = None
) -> None:
    """Raise ``ValueError`` if a reward cannot read the reference of a row, before anything is sampled.

    A reward that reads references has a method ``unreadable_rows(rows)``, which gives the indices of such rows: their
    completions would be left out of every update. Rewards without the method are not asked.

    Args:
        rewards: functions by name.
        rows: problems, in the order and with the columns of the data.
        numbers: of the rows in the data, for the error; ``None``: their places in ``rows``.
    """
    numbers = range(len(rows)) if numbers is None else numbers
    for name, function in rewards.items():
        ask = getattr(function, "unreadable_rows", None)
        unreadable = [] if ask is None else ask(rows)
        if unreadable:
            row = rows[unreadable[0]]
            which = "it" if len(unreadable) == 1 else f"the rows {unreadable[:10]}"
            shown = {key: str(row.get(key))[:200] for key in ("prompt", *getattr(function, "required_columns", ()))}
            raise ValueError(
                f"reward {name!r} cannot read the references of {len(unreadable)} of {len(rows)} rows, first that of "
                f"row {numbers[unreadable[0]]}: {shown}; correct or remove {which}, name another "
                "column with answer_column, or use another reward"
            )


@arguments_named
def read_references(rows: Sequence[Mapping[str, Any]], numbers: Sequence[object] | None = None) -> list[str]:
    """The reference answer of each row as a text that an estimator can be asked about: the first that is accepted.

    Args:
        rows: problems.
        numbers: of the rows in the data, for the error; ``None``: their places in ``rows``.

    Raises:
        ValueError: a row whose ``answer`` is not one; it is named.
    """
    texts = []
    for number, row in zip(range(len(rows)) if numbers is None else numbers, rows, strict=True):
        accepted = accepted_answers(row.get("answer"))
        if not accepted or not accepted[0].strip():
            raise ValueError(
                f"answer: 'reference' needs a reference answer in each row, that of row {number} is "
                f"{str(row.get('answer'))[:200]!r}; correct or remove it, or name another column with answer_column"
            )
        texts.append(accepted[0])
    return texts


def column(reward: object, columns: Mapping[str, Sequence[Any]], name: str, count: int) -> Sequence[Any]:
    """The column ``name`` of a reward's arguments, with ``count`` entries.

    Raises:
        KeyError: it is missing; the message names the columns that are there.
        ValueError: it has another number of entries.
    """
    owner = type(reward).__name__
    if name not in columns:
        raise KeyError(f"{owner} needs the column {name!r}, got {sorted(columns)}")
    if len(columns[name]) != count:
        raise ValueError(f"{owner}: column {name!r} has {len(columns[name])} entries for {count} completions")
    return columns[name]
