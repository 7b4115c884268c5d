"""Decorators that check shapes, dtypes and devices at every call."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, TypeVar, dataclass_transform

from beartype import beartype
from jaxtyping import jaxtyped
from torch import Tensor

from iapo.ops.arguments import bound_arguments
from iapo.ops.checks import check_one_device

T = TypeVar("T")
P = ParamSpec("P")


def shape_checked(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: check a function's annotations, shapes included, at every call.

    Tensors that a function of a module is given, and that lie on several devices, are a ``ValueError`` that names them.
    Methods check that themselves, under the name of their class.
    """
    if function.__qualname__ != function.__name__:
        return _fitting(jaxtyped(typechecker=beartype)(function), function)

    @wraps(function)
    def on_one_device(*args: P.args, **kwargs: P.kwargs) -> T:
        if len({value.device for value in (*args, *kwargs.values()) if isinstance(value, Tensor)}) > 1:
            check_one_device(function.__name__, inspect.signature(function).bind(*args, **kwargs).arguments)
        return function(*args, **kwargs)

    return _fitting(jaxtyped(typechecker=beartype)(on_one_device), function)


def _fitting(checked: Callable[P, T], function: Callable[P, T]) -> Callable[P, T]:
    """``checked``, whose ``TypeError`` about an argument that is missing or unknown names what was called."""

    @wraps(checked)
    def named(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return checked(*args, **kwargs)
        except TypeError:
            bound_arguments(function, args, kwargs)
            raise

    return named


@dataclass_transform(frozen_default=True)
def checked_record(cls: type[T]) -> type[T]:
    """Decorator: a frozen dataclass whose constructor checks shapes and dtypes before ``__post_init__`` runs."""
    cls = dataclass(frozen=True, eq=False)(cls)
    cls.__init__ = shape_checked(cls.__init__)  # type: ignore[method-assign]
    return cls
