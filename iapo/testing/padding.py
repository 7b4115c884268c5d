"""The same texts in other padding."""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from iapo.types import Rollout


def other_padding(rollout: Rollout, left: int, right: int, vocab: int, seed: int) -> Rollout:
    """The same texts in wider tensors, with other ids and log-probabilities in their padding.

    Args:
        rollout: the texts.
        left: more slots before the prompts.
        right: more slots behind completions and answers.
        vocab: ids in padding are below it.
        seed: of the ids.
    """
    wider = rollout.pad(prompt=left, token=right, answer=right)
    generator = torch.Generator().manual_seed(seed)

    def fill(ids: Tensor | None, mask: Tensor | None) -> Tensor | None:
        if ids is None or mask is None:
            return None
        return torch.where(mask, ids, torch.randint(0, vocab, ids.shape, generator=generator))

    ids: dict[str, Any] = {
        "prompt_ids": fill(wider.prompt_ids, wider.prompt_mask),
        "completion_ids": fill(wider.completion_ids, wider.completion_mask),
        "answer_ids": fill(wider.answer_ids, wider.answer_mask),
    }
    logprobs = wider.sampler_logprobs
    if logprobs is not None:
        anything = -torch.rand(logprobs.shape, generator=generator).to(logprobs)
        logprobs = torch.where(wider.completion_mask, logprobs, anything)
    return dataclasses.replace(wider, **ids, sampler_logprobs=logprobs)
