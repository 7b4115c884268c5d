"""How a reward function is called, and its scores read: those written for TRL work as they are."""

import asyncio
import inspect
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from numbers import Real
from typing import Any

from iapo.interfaces import REWARD_ARGUMENTS

_LOGGING = frozenset({"log_extra", "log_metric"})
"""Functions that TRL gives to a reward. Here they take what they are given and keep nothing."""


def call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """What a reward returns.

    It gets the arguments that its signature names, and all if it has ``**kwargs``. A parameter ``log_extra`` or
    ``log_metric``, as TRL has them, gets a function that keeps nothing. What an ``async`` function awaits runs in one
    event loop for all calls, in a thread of its own.

    Args:
        function: the reward.
        arguments: ``prompts``, ``completions``, ``completion_ids``, and the columns of the data.
    """
    parameters = _parameters(function)
    takes_all = parameters is None or any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    given = dict(arguments) if takes_all else {name: arguments[name] for name in parameters or () if name in arguments}
    if parameters is not None:
        given |= dict.fromkeys(_LOGGING & set(parameters), _keep_nothing)
    returned = function(**given)
    return (
        asyncio.run_coroutine_threadsafe(_awaited(returned), _loop()).result()
        if inspect.isawaitable(returned)
        else returned
    )


def wanted_columns(function: Callable[..., Any]) -> set[str]:
    """The columns that a reward cannot be called without: ``required_columns``, and parameters without a default."""
    named = {
        name
        for name, each in (_parameters(function) or {}).items()
        if each.default is each.empty and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    }
    return (named - REWARD_ARGUMENTS - _LOGGING) | set(getattr(function, "required_columns", ()))


def scores_of(name: str, values: Any, count: int) -> list[float | None]:
    """The scores that a reward returned, as numbers of Python.

    Args:
        name: of the reward, for the message.
        values: a list or another sequence, or an array or tensor of one axis; entries are numbers, of NumPy and torch
            too, or ``None``.
        count: how many there must be.

    Raises:
        ValueError: another kind of thing, another number of scores, or one that is not a finite number.
    """
    entries = values.tolist() if hasattr(values, "tolist") else list(values) if isinstance(values, Iterator) else values
    if not isinstance(entries, Sequence) or isinstance(entries, str | bytes) or len(entries) != count:
        counted = isinstance(entries, Sequence) and not isinstance(entries, str | bytes)
        got = f"{len(entries)} scores" if counted else type(values).__name__
        raise ValueError(f"reward {name!r}: got {got}, want a list of {count}, one per completion")
    return [_number(name, index, entry) for index, entry in enumerate(entries)]


def _number(name: str, index: int, entry: Any) -> float | None:
    if entry is None:
        return None
    try:
        value = entry.item() if hasattr(entry, "item") else entry
        number = float(value) if isinstance(value, Real) else math.nan
    except (ValueError, RuntimeError, OverflowError):  # several elements, or an integer that no float holds
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(
            f"reward {name!r}: score at index {index} is {entry!r}, want a finite number, or None for a completion "
            "that it cannot score"
        )
    return number


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """The parameters of a reward; ``None`` for a builtin that does not tell."""
    try:
        return inspect.signature(function).parameters
    except ValueError:
        return None


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One loop for all calls: a client that a reward keeps (for a judge, say) belongs to the loop that it began in."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True, name="iapo-async-rewards").start()
    return loop


def _keep_nothing(*args: Any, **kwargs: Any) -> None:
    """Stands for a function of TRL that writes to its table of completions."""
