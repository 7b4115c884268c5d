"""Checks that several parts make of what they are given: its kind, its device, that its numbers are finite."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from inspect import get_annotations
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import torch
from torch import Tensor, nn

from iapo.ops.plain_values import plain_value


def named_kind(part: object) -> str:
    """What something is, for an error: an object of a class, or the class itself.

    Example:
        >>> named_kind(3), named_kind("3"), named_kind(int)
        ('an int', 'a str', 'the class int')
    """
    if isinstance(part, type):
        return f"the class {part.__name__}"
    name = type(part).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


_IN_WORDS = {bool: "True or False", str: "a text", Path: "a path", NoneType: "None"}
"""Kinds that fields of any dataclass may have, as errors call them."""


def check_kinds(part: Any, declared_by: Any = None) -> None:
    """Raise ``TypeError`` for a field of a dataclass that is of another kind than its annotation says.

    Compared are texts, paths, flags (of NumPy too), functions and the classes of this package, alone, one of several,
    or in a tuple. Numbers have ranges (`check_number`), and a model or a tokenizer may be of any class that works.

    Args:
        part: an object of the dataclass.
        declared_by: a dataclass that this one extends, whose fields alone are compared; ``None``: all are.
    """
    declaring = type(part) if declared_by is None else declared_by
    # A field's own `type` is what TRL's parser of the command line last made of it.
    annotations = {name: kind for base in reversed(declaring.__mro__) for name, kind in get_annotations(base).items()}
    for each in fields(declaring):
        value, kinds = getattr(part, each.name, None), _alternatives(annotations[each.name])
        if each.init and all(map(_is_compared, kinds)) and not any(_is_of(value, kind) for kind in kinds):
            got = named_kind(value) if isinstance(value, type) else f"{value!r:.80}"
            raise TypeError(f"{each.name}: got {got}, want {' or '.join(map(_kind_in_words, kinds))}")


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)


def _member(kind: Any) -> Any:
    """What a tuple of any length is of; ``None`` for another kind."""
    return get_args(kind)[0] if get_origin(kind) is tuple and get_args(kind)[1:] == (...,) else None


def _is_compared(kind: Any) -> bool:
    if (member := _member(kind)) is not None:
        return _is_compared(member)
    own = isinstance(kind, type) and kind.__module__.startswith("iapo.") and not getattr(kind, "_is_protocol", False)
    return kind in _IN_WORDS or get_origin(kind) is Callable or own


def _is_of(value: object, kind: Any) -> bool:
    if (member := _member(kind)) is not None:
        return isinstance(value, tuple | list) and all(_is_of(each, member) for each in value)
    if get_origin(kind) is Callable:
        return callable(value)
    return isinstance(plain_value(value) if kind is bool else value, kind)


def _kind_in_words(kind: Any) -> str:
    if (member := _member(kind)) is not None:
        return f"a tuple, each {_kind_in_words(member)}"
    if get_origin(kind) is Callable:
        return "a function"
    return _IN_WORDS.get(kind) or f"an object of {kind.__name__}"


def check_choice(name: str, value: str, choices: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is one of the strings of the ``Literal`` ``choices``."""
    if value not in get_args(choices):
        raise ValueError(f"{name}: got {value!r}, want one of {', '.join(get_args(choices))}")


def check_returned(component: object, hook: str, returned: object, kind: type) -> None:
    """Raise ``TypeError`` if a hook returned something else than it should."""
    if not isinstance(returned, kind):
        raise TypeError(f"{type(component).__name__}.{hook}: got {type(returned).__name__}, want {kind.__name__}")


@contextmanager
def unchanged(component: object, hook: str, tensors: Mapping[str, object]) -> Iterator[None]:
    """A context for the call of a hook: a tensor that it changes in place is a ``ValueError``; others read it too.

    Args:
        component: whose hook is called.
        hook: its name.
        tensors: what the hook is given, by name; what is no tensor is skipped.
    """
    given = {name: each for name, each in tensors.items() if isinstance(each, Tensor) and not each.is_inference()}
    versions = {name: each._version for name, each in given.items()}
    yield
    changed = [name for name, each in given.items() if each._version != versions[name]]
    if changed:
        raise ValueError(
            f"{type(component).__name__}.{hook}: changed {', '.join(changed)} in place, want what it is given left as "
            "it is (clone it first)"
        )


def check_one_device(owner: str, tensors: Mapping[str, object]) -> None:
    """Raise ``ValueError`` unless all tensors lie on one device; what is not a tensor is skipped.

    Args:
        owner: begins the message.
        tensors: by the names that the message uses.
    """
    devices = {name: value.device for name, value in tensors.items() if isinstance(value, Tensor)}
    if len(set(devices.values())) > 1:
        found = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise ValueError(f"{owner}: all tensors must lie on one device, got {found}")


def check_beside(model: nn.Module, device: torch.device) -> None:
    """Raise ``ValueError`` if the model lies on an accelerator and the completions lie on another kind of device.

    A model whose parameters lie on the CPU is not checked: it may move them where it runs (FSDP's offloading). One
    without numbers in its weights is refused as `check_loaded` refuses it.
    """
    check_loaded(model)
    parameter = next(model.parameters(), None)
    if parameter is not None and parameter.device.type not in ("cpu", "meta", device.type):
        raise ValueError(
            f"rollout: its tensors lie on {device}, the model on {parameter.device}; move it there: "
            f"rollout.to({str(parameter.device)!r})"
        )


def check_loaded(model: nn.Module) -> None:
    """Raise ``ValueError`` if a weight lies on the meta device, which has its shape and no numbers.

    Weights that Accelerate offloads lie there between two calls; its hooks load them, so that they pass.
    """
    empty = next((name for name, weight in model.named_parameters() if weight.device.type == "meta"), None)
    if empty is not None and not any(hasattr(module, "_hf_hook") for module in model.modules()):
        raise ValueError(
            f"model: its weight {empty} lies on the meta device, which holds no numbers; load the weights, as "
            "from_pretrained does outside of torch.device('meta')"
        )


def is_finite_number(value: object) -> bool:
    """Whether something is a real number, of NumPy too, and neither NaN nor infinite.

    Example:
        >>> is_finite_number(0.5), is_finite_number(float("nan")), is_finite_number(None), is_finite_number("0.5")
        (True, False, False, False)
    """
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def check_number(
    name: str,
    value: Any,
    want: str = "a finite number",
    fits: Callable[[float], bool] = lambda x: True,
    or_none: bool = False,
) -> None:
    """Raise ``ValueError`` unless ``value`` is a finite number that fits, or may be ``None``.

    Args:
        name: of the argument.
        value: what came.
        want: the valid numbers, in words.
        fits: whether a finite number is valid; left out: each is.
        or_none: whether ``None`` is valid too, which the message then says in front of ``want``.

    Example:
        >>> check_number("discount", None, "a number from 0 to 1", lambda x: 0 <= x <= 1)
        Traceback (most recent call last):
            ...
        ValueError: discount: got None, want a number from 0 to 1
    """
    if not ((or_none and value is None) or (is_finite_number(value) and fits(value))):
        raise ValueError(f"{name}: got {value!r}, want {'None or ' if or_none else ''}{want}")


def check_integer(name: str, value: object, least: int = 1, or_none: bool = False) -> None:
    """Raise ``ValueError`` unless ``value`` is an integer, of NumPy too, of at least ``least``, or may be ``None``.

    Args:
        name: of the argument.
        value: what came.
        least: the smallest that is valid.
        or_none: whether ``None`` is valid too.
    """
    if not ((or_none and value is None) or _is_integer(value, least)):
        raise ValueError(f"{name}: got {value!r}, want {'None or ' if or_none else ''}an integer of at least {least}")


def check_integers(name: str, values: object, least: int = 1, or_empty: bool = False) -> None:
    """Raise ``ValueError`` unless ``values`` is a tuple of integers of at least ``least``.

    Args:
        name: of the argument.
        values: what came.
        least: the smallest integer that is valid.
        or_empty: whether an empty tuple is valid too.

    Example:
        >>> check_integers("after_ids", (13, 9.5), least=0)
        Traceback (most recent call last):
            ...
        ValueError: after_ids: got (13, 9.5), want a tuple of integers of at least 0, not empty
    """
    if isinstance(values, tuple) and (values or or_empty) and all(_is_integer(each, least) for each in values):
        return
    raise ValueError(
        f"{name}: got {values!r}, want a tuple of integers of at least {least}{'' if or_empty else ', not empty'}"
    )


def check_finite(name: str, tensor: Tensor) -> None:
    """Raise ``FloatingPointError`` for a tensor with NaN or an infinite number; the rows are named."""
    if bool(tensor.isfinite().all()):
        return
    rows = (~tensor.isfinite()).reshape(tensor.shape[0], -1).any(1).nonzero().flatten().tolist() if tensor.ndim else []
    raise FloatingPointError(f"{name}: NaN or infinite value{f' in rows {rows}' if rows else ''}")


def _is_integer(value: object, least: int) -> bool:
    return isinstance(value, Integral) and int(value) >= least
