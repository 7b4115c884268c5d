"""FlexAttention under the packed forward: the block mask against the dense one, and both against the same values."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny_model
from tolerances import rounding
from torch.nn.attention.flex_attention import BlockMask

from iapo.estimators import AnswerLikelihood, EarlyExitEntropy
from iapo.estimators.packed import Block, attention
from iapo.estimators.packed.masks import attention_mask, packed_mask
from iapo.testing import rollouts

POSTFIX = (4, 5)
WINDOWED = {"llama": {}, "mistral": {"sliding_window": 4}, "gemma3_text": {"sliding_window": 4, "head_dim": 8}}


@pytest.fixture
def uncompiled_flex(monkeypatch):
    """FlexAttention in force on a CPU, without its kernel: the reference implementation in torch operations."""
    monkeypatch.setattr(attention, "_FLEX_DEVICES", ("cpu",))
    torch.compiler.set_stance("force_eager")
    yield
    torch.compiler.set_stance("default")


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("estimator", [EarlyExitEntropy(POSTFIX), AnswerLikelihood(POSTFIX)], ids=["entropy", "answer"])
@pytest.mark.parametrize("family", WINDOWED)
def test_same_values_and_still_in_force(family, estimator, uncompiled_flex):
    model = tiny_model(family, **WINDOWED[family])
    forwards = []

    @given(rollout=rollouts(), chunk=st.one_of(st.none(), st.integers(1, 5)))
    @settings(max_examples=15, deadline=None)
    def check(rollout, chunk):
        model.set_attn_implementation("eager")
        expected = estimator.probe(model, rollout)
        model.set_attn_implementation("flex_attention")
        with_chunk = type(estimator)(POSTFIX, chunk=chunk)
        torch.testing.assert_close(with_chunk.probe(model, rollout), expected, atol=rounding(model, expected), rtol=0)
        assert model.config._attn_implementation == "flex_attention"

    def record(module, args, kwargs):
        forwards.append(type(kwargs["attention_mask"]))

    layer = next(module for name, module in model.named_modules() if name.endswith("self_attn"))
    layer.register_forward_pre_hook(record, with_kwargs=True)
    check()
    assert BlockMask in forwards


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_blocks_that_are_skipped_have_nothing_to_see(data):
    """No visible key outside the blocks that a kernel visits, no hidden one inside those it takes as a whole."""
    rows, copies, size = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 90)), data.draw(st.integers(1, 4))
    cached = data.draw(st.integers(1, 400))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    real = torch.arange(cached) >= torch.randint(0, cached, (rows, 1), generator=generator)
    ends = torch.randint(1, cached + 1, (rows, copies), generator=generator)
    seen = packed_mask(real, ends, Block.chain(torch.zeros(rows, size, dtype=torch.long), kept=1).visible)
    config = tiny_model("llama").config
    config._attn_implementation = attention.FLEX
    mask = attention_mask(seen, torch.zeros(rows, copies * size, dtype=torch.long), real, config, torch.float32)
    wide, high = mask.BLOCK_SIZE[1], mask.BLOCK_SIZE[0]
    visited = torch.zeros(rows, -(-seen.shape[1] // high), -(-seen.shape[2] // wide), dtype=torch.bool)
    whole = visited.clone()
    for kind, counts, indices in (
        (visited, mask.kv_num_blocks, mask.kv_indices),
        (whole, mask.full_kv_num_blocks, mask.full_kv_indices),
    ):
        for row, block in torch.cartesian_prod(torch.arange(rows), torch.arange(visited.shape[1])).tolist():
            kind[row, block, indices[row, 0, block, : counts[row, 0, block]].long()] = True

    def of_tokens(blocks):
        spread = blocks.repeat_interleave(high, 1).repeat_interleave(wide, 2)
        return spread[:, : seen.shape[1], : seen.shape[2]]

    assert not (seen & ~of_tokens(visited | whole)).any()
    assert not (~seen & of_tokens(whole)).any()
    row, query, key = (torch.randint(0, n, (200,), generator=generator) for n in seen.shape)
    assert torch.equal(mask.mask_mod(row, 0, query, key), seen[row, query, key])


def test_copies_that_do_not_see_each_other_cost_nothing():
    """Of 1024 queries and their own keys, only the blocks on the diagonal are visited."""
    real, ends = torch.ones(1, 128, dtype=torch.bool), torch.full((1, 256), 128)
    seen = packed_mask(real, ends, Block.chain(torch.zeros(1, 4, dtype=torch.long), kept=1).visible)
    config = tiny_model("llama").config
    config._attn_implementation = attention.FLEX
    mask = attention_mask(seen, torch.zeros(1, 1024, dtype=torch.long), real, config, torch.float32)
    assert (mask.kv_num_blocks + mask.full_kv_num_blocks).flatten().tolist() == [2] * 8


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_the_kernel_agrees_with_sdpa(family):
    model = tiny_model(family, head_dim=16, **WINDOWED[family]).cuda()

    @given(rollout=rollouts())
    @settings(max_examples=5, deadline=None)
    def check(rollout):
        moved = rollout.to("cuda")
        model.set_attn_implementation("sdpa")
        expected = EarlyExitEntropy(POSTFIX).probe(model, moved)
        model.set_attn_implementation("flex_attention")
        torch.testing.assert_close(EarlyExitEntropy(POSTFIX).probe(model, moved), expected, atol=1e-4, rtol=0)
        assert model.config._attn_implementation == "flex_attention"

    check()
