"""Weights by a checkpoint's names, and that no change of a bit is missed."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models import FAMILIES, tiny_model
from safetensors.torch import load_file
from torch import nn

from iapo.policy.weights import checkpoint_weights, fingerprint

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_they_are_those_of_a_saved_model(family, tmp_path):
    model = tiny_model(family)
    model.save_pretrained(tmp_path)
    saved, found = load_file(tmp_path / "model.safetensors"), checkpoint_weights(nn.DataParallel(model))
    assert found.keys() == saved.keys()
    assert all(torch.equal(found[name], value) for name, value in saved.items())


@st.composite
def weights(draw):
    shape = draw(st.sampled_from([(1,), (7,), (5, 3), (64, 33), (3, 1024), (2, 3, 700), (4097,)]))
    dtype, seed = draw(st.sampled_from(DTYPES)), draw(st.integers(0, 2**16))
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@given(weights(), st.data())
def test_one_changed_bit_is_seen(values, data):
    changed = values.clone()
    raw = changed.view(-1).view(torch.uint8)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert fingerprint({"a": changed}) != fingerprint({"a": values})
    assert fingerprint({"a": values.clone()}) == fingerprint({"a": values})


@given(weights(), st.data())
def test_two_numbers_that_change_places_are_seen(values, data):
    flat = values.view(-1)
    one, two = (data.draw(st.integers(0, len(flat) - 1)) for _ in range(2))
    changed = values.clone()
    changed.view(-1)[one], changed.view(-1)[two] = flat[two], flat[one]
    same = bool((changed == values).all())
    assert (fingerprint({"a": changed}) == fingerprint({"a": values})) == same


def test_rows_columns_and_weights_that_change_places_are_seen():
    values = torch.randn(40, 2048)
    before = fingerprint({"a": values, "b": -values})
    assert fingerprint({"a": values.flip(0), "b": -values}) != before
    assert fingerprint({"a": values.flip(1), "b": -values}) != before
    assert fingerprint({"a": -values, "b": values}) != before
    assert fingerprint({"a": values[:, 1:].contiguous()[:, :-1], "b": -values}) != before


def test_what_lies_at_an_odd_place_of_its_storage_is_read():
    values = torch.randn(4001)
    assert fingerprint({"a": values[1:]}) == fingerprint({"a": values[1:].clone()})


def test_steps_through_data_are_seen():
    """They move no version counter."""
    model = tiny_model("llama")
    before = fingerprint(checkpoint_weights(model))
    assert fingerprint(checkpoint_weights(copy.deepcopy(model))) == before
    next(model.parameters()).data[0, 0] += 1e-6
    assert fingerprint(checkpoint_weights(model)) != before
