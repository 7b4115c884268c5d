"""What the tests of the vLLM sampler share: a small policy that vLLM can run on a CPU, and samplers of it."""

import copy
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from iapo import Rollout
from iapo.embedded import model_path
from iapo.embedded.heads import with_head_size
from iapo.policy.forward import inference_mode
from iapo.policy.logprobs import completion_logprobs
from iapo.rollout import VLLMSampler

needs_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed: make test-vllm")

QUICK = {"enforce_eager": True, "cache_gib": 0.0625}
"""Settings of an engine that starts within a second or two."""

BOUND = 1e-4
"""Nats by which log-probabilities in fp32 may differ from those of transformers."""

PROMPTS = ["3+8-2*4=", "1+2=", "9*3+6*2-5="]


def wide() -> nn.Module:
    """The embedded model with heads of 32, which vLLM runs on a CPU."""
    return with_head_size(AutoModelForCausalLM.from_pretrained(model_path()))


def tokenizer():
    return AutoTokenizer.from_pretrained(model_path())


def sampler_of(model: nn.Module, max_new_tokens: int = 24, **settings: object) -> VLLMSampler:
    return VLLMSampler(model, tokenizer(), max_new_tokens, **{**QUICK, **settings})


def gap(model: nn.Module, rollout: Rollout, temperature: float = 1.0) -> float:
    """The largest difference between the sampler's log-probabilities and the model's, nats."""
    assert rollout.sampler_logprobs is not None
    with inference_mode(model):
        expected, _ = completion_logprobs(model, rollout, temperature)
    return float((expected - rollout.sampler_logprobs).abs().max())


def moved(model: nn.Module, size: float = 0.05) -> nn.Module:
    """A copy of a model with other weights."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(size * torch.randn_like(parameter) * parameter.std())
    return other
