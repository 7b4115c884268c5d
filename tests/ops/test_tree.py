"""Nested state survives the way through JSON and tensors exactly; what cannot be stored is named."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iapo.ops.tree import flatten, unflatten

floats = st.floats(allow_nan=False)
leaves = st.none() | st.booleans() | st.integers() | floats | st.text(st.characters(codec="utf-8"), max_size=3)
tensors = st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.uint8]).flatmap(
    lambda dtype: st.lists(st.integers(0, 1), max_size=3).map(lambda values: torch.tensor(values).to(dtype))
)
trees = st.recursive(
    leaves | tensors,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.integers(0, 9) | st.sampled_from(["state", "lr", "a.b"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@given(trees)
@settings(max_examples=200, deadline=None)
def test_nested_state_comes_back_as_it_was(tree: object) -> None:
    structure, found = flatten(tree, "state")
    assert same(tree, unflatten(json.loads(json.dumps(structure, allow_nan=False)), found))


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": object()}, r"state\.a: .* got object"),
        ({"a": {1.5: 0}}, r"state\.a: .* got 1\.5"),
        ({"a.b": torch.zeros(1), "a": {"b": torch.zeros(1)}}, r"state\.a\.b: two tensors"),
    ],
)
def test_what_cannot_be_stored_is_named(tree: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        flatten(tree, "state")
