"""`GrowingLayer` against the cache layer of transformers that it replaces."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.cache_utils import DynamicLayer

from iapo.rollout.growing import GrowingLayer


@settings(max_examples=30)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 5)),
            st.tuples(st.just("append"), st.integers(60, 70)),
            st.tuples(st.just("repeat"), st.integers(1, 2)),
            st.tuples(st.just("select"), st.integers(0, 99)),
            st.tuples(st.just("crop"), st.integers(1, 3)),
        ),
        max_size=12,
    )
)
def test_growing_layer_is_a_dynamic_layer(steps: list[tuple[str, int]]) -> None:
    ours, theirs = GrowingLayer(), DynamicLayer()
    generator = torch.Generator().manual_seed(0)
    rows = 3
    for kind, number in [("append", 4), *steps]:
        if kind == "append":
            keys, values = torch.rand(2, rows, 2, number, 3, generator=generator)
            for found, held in zip(ours.update(keys, values), theirs.update(keys, values), strict=True):
                assert torch.equal(found, held)
        elif kind == "repeat" and rows < 20:
            rows *= number
            for layer in (ours, theirs):
                layer.batch_repeat_interleave(number)
        elif kind == "select":
            kept = torch.randperm(rows, generator=generator)[: 1 + number % rows]
            rows = len(kept)
            for layer in (ours, theirs):
                layer.batch_select_indices(kept)
        elif kind == "crop" and theirs.get_seq_length() > number:
            for layer in (ours, theirs):
                layer.crop(-number)
        assert torch.equal(ours.keys, theirs.keys)
        assert torch.equal(ours.values, theirs.values)
