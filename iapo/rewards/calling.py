"""Calls reward functions, also those written for TRL, and reads the scores that they return."""

import asyncio
import contextlib
import inspect
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache, partial
from numbers import Real
from typing import Any

import torch

from iapo.interfaces import REWARD_ARGUMENTS, TRL_ARGUMENTS

RewardFunction = Callable[..., Any]
"""A function with the signature of `iapo.Reward`, or of a part of it: it gets the arguments that it names."""

_LOGGING = TRL_ARGUMENTS - {"trainer_state"}
"""Functions that TRL gives to a reward. Here they take what they are given and keep nothing."""

_LARGEST = torch.finfo(torch.float32).max
"""Scores are added up in fp32, where a larger one would be infinite."""


def call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """What a reward returns; of a generator all that it yields.

    It gets the arguments that its signature names, and all if it has ``**kwargs``, but never a column in place of what
    a method or `functools.partial` was given before. A parameter ``log_extra`` or ``log_metric``, as TRL has them, gets
    a function that keeps nothing. What an ``async`` function awaits runs in one event loop for all calls, in a thread
    of its own.

    Args:
        function: the reward.
        arguments: ``prompts``, ``completions``, ``completion_ids``, and the columns of the data.
    """
    parameters = _parameters(function)
    takes_all = parameters is None or any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    given = dict(arguments) if takes_all else {name: arguments[name] for name in parameters or () if name in arguments}
    bound = _bound(function)
    given = {name: value for name, value in given.items() if name not in bound}
    if parameters is not None:
        given |= dict.fromkeys(_LOGGING & set(parameters), _keep_nothing)
    by_place = [each for each in (parameters or {}).values() if each.kind is each.POSITIONAL_ONLY]
    returned = function(*[given.pop(each.name, each.default) for each in by_place], **given)
    if inspect.isawaitable(returned):
        returned = asyncio.run_coroutine_threadsafe(_awaited(returned), _loop()).result()
    return list(returned) if isinstance(returned, Iterator) else returned


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
        ValueError: another kind of thing, another number of scores, or one that is not a finite number of fp32.
    """
    entries = values.tolist() if hasattr(values, "tolist") else values
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
        number = float(value) if isinstance(value, Real | Decimal) else math.nan
    except (ValueError, RuntimeError, OverflowError):  # several elements, or an integer that no float holds
        number = math.nan
    if not abs(number) <= _LARGEST:  # of NaN too
        raise ValueError(
            f"reward {name!r}: score at index {index} is {entry!r:.80}, want a finite number (up to {_LARGEST:.1e}), "
            "or None for a completion that it cannot score"
        )
    return number


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """The parameters of a reward; ``None`` for a builtin that does not tell."""
    try:
        return inspect.signature(function).parameters
    except ValueError:
        return None


def _bound(function: Callable[..., Any]) -> set[str]:
    """The parameters that a method, an object or a partial function has been given before it is called."""
    if isinstance(function, partial):
        own = set(_parameters(function) or ())
        return set(function.keywords) | (_named_parameters(function.func) - own) | _bound(function.func)
    if inspect.isroutine(function):
        return _named_parameters(getattr(function, "__func__", None)) - _named_parameters(function)
    raw = inspect.getattr_static(type(function), "__call__", None)
    return set(list(_parameters(raw) or ())[:1]) if inspect.isfunction(raw) else set()


def _named_parameters(function: Any) -> set[str]:
    """The names of parameters that take one argument each."""
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = (_parameters(function) or {}) if callable(function) else {}
    return {name for name, each in found.items() if each.kind not in several}


async def _awaited(awaitable: Any) -> Any:
    try:
        return await awaitable
    except SystemExit as error:  # which would end the loop, and with it the thread
        raise RuntimeError(f"it called exit({error.code!r})") from error


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One loop for all calls: a client that a reward keeps (for a judge, say) belongs to the loop that it began in."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=_run, args=(loop,), daemon=True, name="iapo-async-rewards").start()
    return loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Forever: what asyncio raises out of a loop too, such as ``exit()`` in a task, goes to the one who awaits it."""
    while True:
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            loop.run_forever()


def _keep_nothing(*args: Any, **kwargs: Any) -> None:
    """Stands for a function of TRL that writes to its table of completions."""
