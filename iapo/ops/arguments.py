"""The arguments of a call by their names: those that do not fit, and those of another type once a call has failed."""

import contextlib
import inspect
import os
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from beartype import BeartypeConf
from beartype.door import is_bearable
from beartype.roar import BeartypeException

T = TypeVar("T")
P = ParamSpec("P")

_HERE = os.path.join(Path(__file__).parents[1], "")
_MODULE = re.compile(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])")
"""Modules in front of a class in an annotation."""
_NUMBERS = BeartypeConf(is_pep484_tower=True)
"""An integer is a float where one is wanted."""


def arguments_named(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: a call that fails because an argument is of another type is a ``TypeError`` that names the argument.

    Annotations are compared when a call has failed with one of the errors that Python raises for a thing of another
    type, so that they cost a call that succeeds nothing: of sequences, those that `shape_checked` compares at every
    call draw from Python's random numbers. Others (out of memory, a full disk, a server that is gone) stay what they
    are, whatever the arguments.

    Example:
        >>> @arguments_named
        ... def total(lengths: list[int]) -> int:
        ...     return sum(lengths)
        >>> total(None)
        Traceback (most recent call last):
        ...
        TypeError: lengths: got None, want list[int] (TypeError: 'NoneType' object is not iterable)
    """

    @wraps(function)
    def named(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except (TypeError, AttributeError) as error:
            given = bound_arguments(function, args, kwargs)
            if _is_on_purpose(error) or (misfit := _misfit(given, error)) is None:
                raise
            raise TypeError(f"{misfit} ({type(error).__name__}: {error})") from error

    return named


def _is_on_purpose(error: Exception) -> bool:
    """Whether a ``raise`` of this package raised it: its message says what is wrong."""
    last = traceback.extract_tb(error.__traceback__, limit=-1)[0]
    return last.filename.startswith(_HERE) and (last.line or "").startswith("raise")


def _misfit(given: inspect.BoundArguments, error: Exception) -> str | None:
    """What is wrong with the first argument that is not as annotated, or, where nothing is known of its type, lacks
    what it was asked for.
    """
    for name, value in given.arguments.items():
        wanted = given.signature.parameters[name].annotation
        with contextlib.suppress(BeartypeException):  # an annotation that cannot be compared
            if not is_bearable(value, wanted, conf=_NUMBERS):
                return f"{name}: got {value!r:.80}, want {_MODULE.sub('', inspect.formatannotation(wanted))}"
        untyped = wanted is Any or isinstance(wanted, str)
        if untyped and isinstance(error, AttributeError) and error.name and error.obj is value:
            return f"{name}: got {value!r:.80}, want what has {error.name}"
    return None


def bound_arguments(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> inspect.BoundArguments:
    """The arguments of a call by their names; ``TypeError``, which names what was called, if they do not fit."""
    signature, name = inspect.signature(function), function.__qualname__.removesuffix(".__init__")
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name}: {error}; its arguments are {_listed(signature)}") from None


def _listed(signature: inspect.Signature) -> str:
    """The names of arguments, those in brackets that may be left out."""
    arguments = [each for each in signature.parameters.values() if each.name != "self"]
    return ", ".join(each.name if each.default is each.empty else f"[{each.name}]" for each in arguments)
