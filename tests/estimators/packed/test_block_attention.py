"""Attention in query blocks against dense attention, for any size of the blocks."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny_model
from tolerances import rounding

from iapo import Rollout
from iapo.estimators import AnswerLikelihood, EarlyExitEntropy
from iapo.estimators.packed import block_attention
from iapo.testing import rollouts

POSTFIX, CLOSING = (5, 6), (7,)


@pytest.mark.parametrize("estimator", [EarlyExitEntropy(POSTFIX), AnswerLikelihood(POSTFIX, CLOSING)])
@given(
    rollout=rollouts(max_token=9),
    family=st.sampled_from(["llama", "gpt2", "mistral"]),
    size=st.integers(1, 12),
)
@settings(max_examples=25)
def test_query_blocks_of_any_size_give_dense_attention(estimator, rollout, family, size):
    model = tiny_model(family, **({"sliding_window": 3} if family == "mistral" else {}))
    model.set_attn_implementation("eager")
    expected = estimator.probe(model, rollout)
    model.set_attn_implementation("sdpa")
    with patch.object(block_attention, "_QUERIES", size):
        found = estimator.probe(model, rollout)
    torch.testing.assert_close(found, expected, atol=rounding(model, expected), rtol=0)
    assert model.config._attn_implementation == "sdpa", "what was in force is in force again"


def test_query_blocks_cover_all_queries_and_needed_keys():
    mask = torch.zeros(1, 1, 6, 6 + 9)
    with patch.object(block_attention, "_QUERIES", 4):
        block_attention.attach_query_blocks(mask, size=2, cached=[5, 9, 3])
    assert [(block.begin, block.end, block.cached, tuple(block.mask.shape)) for block in mask.query_blocks] == [
        (0, 4, 9, (1, 1, 4, 4 + 9)),
        (4, 6, 3, (1, 1, 2, 2 + 3)),
    ]


def test_sdpa_on_a_cpu_goes_by_query_blocks(monkeypatch):
    model, seen = tiny_model("llama"), []
    monkeypatch.setattr(block_attention, "_QUERIES", 4)
    real = torch.nn.functional.scaled_dot_product_attention

    def spy(query, key, *args, **kwargs):
        seen.append((query.shape[2], key.shape[2]))
        return real(query, key, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    rollout = six_tokens()
    EarlyExitEntropy(POSTFIX, guard=False).probe(model, rollout)
    layers = model.config.num_hidden_layers
    # Prompt of 2 and 6 tokens, of whose last layer the keys are enough; then seven copies of two tokens, two copies a
    # block, longest prefixes first.
    assert seen[: layers - 1] == [(8, 8)] * (layers - 1)
    assert seen[layers - 1 : layers + 3] == [(4, 4 + 8), (4, 4 + 6), (4, 4 + 4), (2, 2 + 2)]


def six_tokens():
    everywhere = torch.ones(1, 6, dtype=torch.bool)
    return Rollout(
        prompt_ids=torch.tensor([[3, 4]]),
        prompt_mask=torch.ones(1, 2, dtype=torch.bool),
        completion_ids=torch.arange(8, 14)[None],
        completion_mask=everywhere,
        reasoning_mask=everywhere,
        group_ids=torch.zeros(1, dtype=torch.long),
    )


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_flex_attention_is_set_aside_on_a_cpu(family):
    """The probes are computed in query blocks, and FlexAttention is in force again."""
    model, rollout = tiny_model(family), six_tokens()
    expected = EarlyExitEntropy(POSTFIX).probe(model, rollout)
    model.set_attn_implementation("flex_attention")
    found = EarlyExitEntropy(POSTFIX, guard=False).probe(model, rollout)
    torch.testing.assert_close(found, expected, atol=rounding(model, expected), rtol=0)
    assert model.config._attn_implementation == "flex_attention"
