"""Checks of shapes, dtypes and devices at every call: the decorators of functions, methods and records."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, TypeVar, dataclass_transform

from beartype import beartype
from jaxtyping import jaxtyped
from torch import Tensor

from iapo.ops.checks import check_one_device

T = TypeVar("T")
P = ParamSpec("P")


def shape_checked(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: check a function's annotations, shapes included, at every call.

    Tensors that a function of a module is given, and that lie on several devices, are a ``ValueError`` that names them.
    Methods check that themselves, under the name of their class.
    """
    if function.__qualname__ != function.__name__:
        return jaxtyped(typechecker=beartype)(function)

    @wraps(function)
    def on_one_device(*args: P.args, **kwargs: P.kwargs) -> T:
        if len({value.device for value in (*args, *kwargs.values()) if isinstance(value, Tensor)}) > 1:
            check_one_device(function.__name__, inspect.signature(function).bind(*args, **kwargs).arguments)
        return function(*args, **kwargs)

    return jaxtyped(typechecker=beartype)(on_one_device)


@dataclass_transform(frozen_default=True)
def checked_record(cls: type[T]) -> type[T]:
    """Decorator: a frozen dataclass whose constructor checks shapes and dtypes before ``__post_init__`` runs."""
    cls = dataclass(frozen=True, eq=False)(cls)
    cls.__init__ = shape_checked(cls.__init__)  # type: ignore[method-assign]
    return cls
