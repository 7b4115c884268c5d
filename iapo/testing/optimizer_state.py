"""The state of an optimizer of a policy: what a run saves of it, through files, and whether two are the same."""

import json
from collections.abc import Iterator
from typing import Any

from safetensors.torch import load, save
from torch import Tensor
from torch.optim import Optimizer

from iapo.interfaces import PolicyOptimizer
from iapo.ops.tree import flatten, unflatten
from iapo.testing.checks import assert_close


def learning_rate(optimizer: PolicyOptimizer) -> float | None:
    """The learning rate of the next step, of an optimizer of torch inside; ``None``: there is none in sight."""
    return next((float(of_torch.param_groups[0]["lr"]) for of_torch in _of_torch(optimizer)), None)


def _of_torch(optimizer: PolicyOptimizer) -> Iterator[Optimizer]:
    inner = getattr(optimizer, "optimizer", None)
    if isinstance(inner, Optimizer):
        yield inner


def has_state(optimizer: PolicyOptimizer) -> bool:
    return hasattr(optimizer, "state_dict") and hasattr(optimizer, "load_state_dict")


def state_of(optimizer: Any) -> dict[str, Any]:
    """What a run saves: its own state, and that of an optimizer of torch inside."""
    return {"own": optimizer.state_dict(), "torch": [each.state_dict() for each in _of_torch(optimizer)]}


def load_state(optimizer: Any, state: dict[str, Any]) -> None:
    for of_torch, each in zip(_of_torch(optimizer), state["torch"], strict=True):
        of_torch.load_state_dict(each)
    optimizer.load_state_dict(state["own"])


def state_tensors(optimizer: PolicyOptimizer) -> dict[str, Tensor]:
    """The tensors of its state, by the path to each; none of an optimizer that does not tell it."""
    return flatten(state_of(optimizer), "state")[1] if has_state(optimizer) else {}


def through_file(state: dict[str, Any]) -> dict[str, Any]:
    """The state as it comes back from a checkpoint's files."""
    tree, tensors = flatten(state, "state")
    found: dict[str, Any] = unflatten(json.loads(json.dumps(tree, allow_nan=False)), load(save(tensors)))
    return found


def assert_same_state(what: str, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise unless two states are the same, bit for bit."""
    (values, tensors), (wanted, kept) = (
        (_plain(state, "state"), flatten(state, "state")[1]) for state in (found, expected)
    )
    for path in sorted(values.keys() | wanted.keys()):
        got, want = (repr(each[path]) if path in each else "nothing" for each in (values, wanted))
        if got != want:
            raise AssertionError(f"{what}: {path}: got {got}, want {want}")
    assert_same_tensors(what, tensors, kept)


def assert_same_tensors(what: str, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Raise unless tensors of the same names are the same, bit for bit."""
    if found.keys() != expected.keys():
        raise AssertionError(f"{what}: want {sorted(expected)}, got {sorted(found)}")
    for name, value in expected.items():
        assert_close(f"{what}: {name}", found[name], value, atol=0)


def _plain(tree: Any, path: str) -> dict[str, Any]:
    """What nested state holds beside tensors, by the path to each."""
    if isinstance(tree, Tensor):
        return {}
    if not isinstance(tree, dict | list | tuple):
        return {path: tree}
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {name: each for key, value in pairs for name, each in _plain(value, f"{path}.{key}").items()}
