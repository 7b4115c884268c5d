"""What a model takes: positions, tokens and logits; an error says so before an index is out of range."""

from pathlib import Path
from typing import Any

import pytest
import torch
from models import FAMILIES, VOCAB, Bent, tiny_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig

from iapo.embedded import model_path
from iapo.policy import load_model
from iapo.policy.limits import Limits, limits_of, limits_of_config, sampleable
from iapo.policy.loading import load_limits
from iapo.rollout import CompactingSampler, TransformersSampler


@pytest.mark.parametrize("family", FAMILIES)
def test_limits_of_a_model_and_of_its_configuration(family: str) -> None:
    model = tiny_model(family)
    assert limits_of(model) == limits_of_config(model.config) == Limits(256, VOCAB)


def test_a_model_without_positions_has_no_limit() -> None:
    assert limits_of_config(AutoConfig.for_model("mamba", vocab_size=7)) == Limits(None, 7)


def test_positions_have_other_names_in_some_families() -> None:
    assert limits_of_config(AutoConfig.for_model("mpt", vocab_size=7, max_seq_len=32)) == Limits(32, 7)
    for name in ("n_positions", "seq_length", "model_max_length", "max_sequence_length", "max_seq_length"):
        assert limits_of_config(PreTrainedConfig(vocab_size=7, **{name: 32})) == Limits(32, 7), name


@pytest.mark.parametrize("sampler", [CompactingSampler, TransformersSampler])
def test_a_prompt_beyond_the_positions_of_mpt_is_named(sampler: Any) -> None:
    """Its biases are made for so many positions: beyond them was an error of tensors in the middle of a run."""
    config = AutoConfig.for_model("mpt", vocab_size=29, max_seq_len=8, d_model=16, n_heads=2, n_layers=1)
    model = AutoModelForCausalLM.from_config(config)
    sample = sampler(model, AutoTokenizer.from_pretrained(model_path()), max_new_tokens=4)
    with pytest.raises(
        ValueError, match=r"prompts\[0\]: has 6 tokens, which with max_new_tokens \(4\) are more than 8"
    ):
        sample(["3+8-5="], 2)


def test_yarn_multiplies_the_positions_that_a_model_was_trained_on() -> None:
    rope = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 32}
    for most, found in ((32, 128), (200, 200)):
        config = AutoConfig.for_model("qwen2", vocab_size=7, max_position_embeddings=most, rope_parameters=rope)
        assert limits_of_config(config) == Limits(found, 7)


@pytest.mark.parametrize(("kind", "found"), [("linear", 80), ("dynamic", 32), ("default", 32)])
def test_linear_scaling_multiplies_the_positions(kind: str, found: int) -> None:
    rope = {"rope_type": kind, "rope_theta": 1e4, "factor": 2.5}
    config = AutoConfig.for_model("llama", vocab_size=7, max_position_embeddings=32, rope_parameters=rope)
    assert limits_of_config(config) == Limits(found, 7, 32 if kind == "dynamic" else None)


def test_limits_without_loading_weights() -> None:
    assert load_limits("embedded") == limits_of(load_model("embedded")[0])


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    """The embedded model with a token that its embeddings lack."""
    model, tokenizer = load_model("embedded")
    tokenizer.add_tokens(["!"])
    model.save_pretrained(tmp_path / "grown")
    tokenizer.save_pretrained(tmp_path / "grown")
    return tmp_path / "grown"


@pytest.mark.parametrize("sampler", [CompactingSampler, TransformersSampler])
def test_a_token_without_an_embedding_is_named(grown: Path, sampler: Any) -> None:
    model, tokenizer = load_model(str(grown))
    sample = sampler(model, tokenizer, max_new_tokens=2)
    with pytest.raises(
        ValueError, match=r"prompts\[1\]: the token '!' has the id 29.*ids below 29 .*resize_token_embed"
    ):
        sample(["3+8=", "3+8=!"], 2)
    assert len(sample(["3+8="], 2)) == 2


@pytest.mark.parametrize("special", ["pad_token", "eos_token"])
def test_special_tokens_without_an_embedding_are_named_on_loading(grown: Path, special: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(grown)
    setattr(tokenizer, special, "!")
    tokenizer.save_pretrained(grown)
    with pytest.raises(ValueError, match="the token '!' has the id 29"):
        load_model(str(grown))


@pytest.mark.parametrize("temperature", [1.0, 0.0])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("sampler", [CompactingSampler, TransformersSampler])
def test_logits_that_nothing_can_be_sampled_from(sampler: Any, value: float, temperature: float) -> None:
    model = tiny_model("llama")
    with torch.no_grad():
        model.lm_head.weight[3] = value
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    with pytest.raises(FloatingPointError, match=r"its logits are NaN or infinite.*--precision fp32"):
        sampler(model, tokenizer, max_new_tokens=3, temperature=temperature)(["3+8="], 2)


def test_tokens_may_be_ruled_out() -> None:
    assert sampleable(torch.tensor([[0.0, -torch.inf], [-torch.inf, 2.0]])).all()
    assert not sampleable(torch.full((1, 2), -torch.inf)).any()
    assert limits_of(Bent(tiny_model("llama"), lambda inputs: inputs)) == Limits(256, VOCAB)
