"""Sampling with vLLM: an engine in this process, or a server that is handed the policy's weights."""

from iapo.rollout.vllm.sampler import VLLMSampler
from iapo.rollout.vllm.server_sampler import VLLMServerSampler
from iapo.rollout.vllm.worker import PolicyWorker

__all__ = ["PolicyWorker", "VLLMSampler", "VLLMServerSampler"]
