"""Nested state (dictionaries, lists, tuples, numbers, text, tensors) as named tensors and JSON, and back, exactly.

Every container is written with its kind, so that integer keys and tuples come back as they were:
``{"dict": [[key, value], ...]}``, ``{"list": [...]}``, ``{"tuple": [...]}``, ``{"tensor": name}``.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def flatten(tree: Any, name: str) -> tuple[Any, dict[str, Tensor]]:
    """Split nested state into JSON and tensors.

    Args:
        tree: the state.
        name: of the state; the tensors' names begin with it.

    Returns:
        What ``json.dumps`` takes, and the tensors on the CPU, each with its own memory, by the path to their place,
        such as ``optimizer.state.0.exp_avg``.

    Raises:
        TypeError: something that is none of these kinds; its path is named.
        ValueError: two tensors with one path.

    Example:
        >>> json, tensors = flatten({0: (torch.zeros(1), 0.5)}, "state")
        >>> json, list(tensors)
        ({'dict': [[0, {'tuple': [{'tensor': 'state.0.0'}, 0.5]}]]}, ['state.0.0'])
    """
    tensors: dict[str, Tensor] = {}
    return _flatten(tree, name, tensors), tensors


def unflatten(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Put JSON and tensors from `flatten` together again.

    Raises:
        ValueError: a tensor that is missing, or JSON that `flatten` does not write.
    """
    if not isinstance(tree, dict):
        return tree
    kind, content = next(iter(tree.items()))
    if kind == "dict":
        return {key: unflatten(value, tensors) for key, value in content}
    if kind == "list":
        return [unflatten(value, tensors) for value in content]
    if kind == "tuple":
        return tuple(unflatten(value, tensors) for value in content)
    if kind == "float":
        return float(content)
    if kind != "tensor":
        raise ValueError(f"state: got {kind!r}, want dict, list, tuple, float or tensor")
    if content not in tensors:
        raise ValueError(f"state: the tensor {content!r} is missing")
    return tensors[content]


def other_kind(tree: Any, like: Any, name: str) -> str:
    """The first value of nested state that is of another kind than in a like state, in words; empty: there is none.

    All numbers are of one kind. What one of the states lacks is not compared, nor is what is ``None`` or a flag in
    ``like``.

    Args:
        tree: the state.
        like: a state that is as it should be.
        name: of the state.

    Example:
        >>> other_kind({"lr": None, "steps": 3}, {"lr": 0.5, "steps": 0}, "optimizer")
        'optimizer.lr is None, want a number'
    """
    if isinstance(tree, Mapping) and isinstance(like, Mapping):
        pairs = [(key, value, like[key]) for key, value in tree.items() if key in like]
    elif isinstance(tree, list | tuple) and isinstance(like, list | tuple):
        pairs = [(index, *both) for index, both in enumerate(zip(tree, like, strict=False))]
    else:
        right = isinstance(like, bool | None) or _kind(tree) == _kind(like)
        return "" if right else f"{name} is {tree!r:.80}, want a {_kind(like)}"
    return next(filter(None, (other_kind(value, wanted, f"{name}.{key}") for key, value, wanted in pairs)), "")


def _kind(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


def _flatten(tree: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, Tensor):
        if path in tensors:
            raise ValueError(f"{path}: two tensors have this path")
        # Tensors that share memory (views, tied moments) cannot be stored as they are.
        tensors[path] = tree.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        return {"tensor": path}
    if isinstance(tree, Mapping):
        for key in tree:
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise TypeError(f"{path}: want keys that are text or integers, got {key!r}")
        return {"dict": [[key, _flatten(value, f"{path}.{key}", tensors)] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        kind = "list" if isinstance(tree, list) else "tuple"
        return {kind: [_flatten(value, f"{path}.{index}", tensors) for index, value in enumerate(tree)]}
    if isinstance(tree, float) and not math.isfinite(tree):
        return {"float": str(tree)}
    if tree is None or type(tree) in (bool, int, float, str):
        return tree
    raise TypeError(f"{path}: want tensors, numbers, text, lists, tuples or dictionaries, got {type(tree).__name__}")
