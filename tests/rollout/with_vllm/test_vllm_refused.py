"""What the sampler refuses, and the error that says so."""

import dataclasses

import pytest
import torch
from engines import PROMPTS, needs_vllm, sampler_of, tokenizer, wide
from transformers import AutoModelForCausalLM

from iapo.embedded import model_path
from iapo.rollout import VLLMSampler

pytestmark = needs_vllm


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cache_gib": 0}, "cache_gib: got 0, want a positive number"),
        ({"max_model_len": 24}, "max_model_len: got 24, want None or more than max_new_tokens, 24"),
        ({"max_model_len": "x"}, "max_model_len: got 'x', want None or an integer of at least 1"),
        ({"dtype": "fp16"}, "dtype: got 'fp16', want one of auto, float32, bfloat16, float16"),
        ({"options": 3}, "options: got 3, want a mapping of arguments by name or None"),
        ({"options": {"seed": 3}}, "options: seed is set by the sampler itself"),
        ({"temperature": -1.0}, "temperature: got -1.0"),
        ({"temperature": 3.0}, "temperature: got 3.0, vLLM takes 0 and numbers from 0.01 to 2"),
        ({"temperature": 0.001}, "temperature: got 0.001, vLLM takes 0 and numbers from 0.01 to 2"),
        ({"top_p": 0.0}, "top_p: got 0.0"),
        ({"max_batch": 0}, "max_batch: got 0"),
    ],
)
def test_settings(settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        sampler_of(wide(), **settings)


def test_a_prompt_that_does_not_fit_is_named_before_anything_is_sampled():
    sampler = sampler_of(wide(), max_new_tokens=250)
    sampler([[5] * 6], 1)
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match=r"prompts\[1\]: has 7 tokens, which with max_new_tokens \(250\) .* 256 posi"):
        sampler([[5] * 6, [5] * 7, [5] * 8], 1)
    assert torch.equal(torch.get_rng_state(), state)
    shorter = sampler_of(wide(), max_new_tokens=40, max_model_len=50)
    assert (shorter([[5] * 10], 2).completion_lengths <= 40).all()
    with pytest.raises(ValueError, match=r"prompts\[0\]: has 11 tokens, .* more than 50 positions"):
        shorter([[5] * 11], 1)


def test_more_positions_than_the_model_has():
    with pytest.raises(ValueError, match="max_model_len: got 300, the model has 256 positions"):
        sampler_of(wide(), max_model_len=300)(PROMPTS, 1)


def test_a_token_that_the_model_does_not_know(shared):
    with pytest.raises(ValueError, match=r"prompts\[1\]: the token .* has the id 29"):
        shared([[5], [29]], 1)


def test_weights_that_are_not_finite(shared):
    model = wide()
    model.model.layers[1].mlp.up_proj.weight.data[3, 4] = torch.inf
    with pytest.raises(FloatingPointError, match=r"model.layers.1.mlp.up_proj.weight holds NaN or infinite"):
        dataclasses.replace(shared, model=model)(PROMPTS, 1)


def test_logits_that_are_not_finite(shared):
    """All weights are finite, and their products are not."""
    model = wide()
    model.model.embed_tokens.weight.data.mul_(1e10)
    model.model.norm.weight.data.mul_(1e30)
    with pytest.raises(FloatingPointError, match="its logits in vLLM are NaN or infinite"):
        dataclasses.replace(shared, model=model)(PROMPTS, 1)


def test_heads_that_vllm_has_no_kernel_for_on_a_cpu():
    model = AutoModelForCausalLM.from_pretrained(model_path())
    with pytest.raises(RuntimeError, match=r"vLLM .*head_dim=24.*docs/vllm.md"):
        sampler_of(model)(PROMPTS, 1)


def test_an_engine_that_cannot_start_says_why_in_one_line():
    with pytest.raises(RuntimeError, match=r"vLLM cannot start: .*'nonsense'.*docs/vllm.md") as caught:
        sampler_of(wide(), options={"nonsense": 1})(PROMPTS, 1)
    assert "\n" not in str(caught.value)


def test_an_engine_of_other_settings(shared):
    with pytest.raises(ValueError, match=r"engine: its cache_gib is 0\.0625, not 2\.0"):
        dataclasses.replace(shared, cache_gib=2.0)


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ({}, {"top_p": 0.9}, "are processed_logprobs, want raw_logprobs at temperature 1.0 and top_p 0.9; engine=None"),
        (
            {"top_p": 0.9},
            {"top_p": 1.0, "temperature": 0.7},
            "are raw_logprobs, want processed_logprobs at temperature 0.7 and top_p 1.0; engine=None",
        ),
    ],
)
def test_an_engine_that_would_give_no_log_probabilities_where_another_would(first, then, message):
    sampler = sampler_of(wide(), **first)
    with pytest.raises(ValueError, match=f"engine: its log-probabilities {message}"):
        dataclasses.replace(sampler, **then)
    assert dataclasses.replace(sampler, **then, engine=None).engine is not sampler.engine
    # Here no engine would.
    assert dataclasses.replace(sampler, temperature=2.0, top_p=0.6).engine is sampler.engine


def test_an_engine_of_another_model(shared):
    shared(PROMPTS, 1)
    model = AutoModelForCausalLM.from_pretrained(model_path())
    with pytest.raises(ValueError, match="engine: was started for a model of another configuration"):
        dataclasses.replace(shared, model=model)(PROMPTS, 1)


def test_something_that_is_no_language_model():
    with pytest.raises(TypeError, match="model: want a model of transformers"):
        VLLMSampler(wide().model.layers[0].mlp, tokenizer(), 8)(PROMPTS, 1)
