"""The likeliest completions of a policy, sampled as another sampler's are: with its limit, its ends and its style."""

from typing import Any

from torch import nn

from iapo.interfaces import Sampler
from iapo.rollout.ends import style_of
from iapo.rollout.transformers import TransformersSampler

_USUAL_LIMIT = 1024
"""Tokens of a greedy completion beside a sampler that does not say its own limit."""


def greedy_beside(sampler: Sampler, model: nn.Module, tokenizer: Any) -> TransformersSampler:
    """A sampler of the likeliest completions, with the limit, the stop texts and the style of another sampler.

    Args:
        sampler: the other one.
        model: the policy.
        tokenizer: of the policy.
    """
    return TransformersSampler(
        model,
        tokenizer,
        max_new_tokens=most_new_tokens(sampler),
        temperature=0.0,
        style=style_of(sampler),
        stop=getattr(sampler, "stop", ()),
    )


def most_new_tokens(sampler: Sampler) -> int:
    """The largest number of tokens of a sampler's completion: its ``max_new_tokens``, 1024 if it does not say."""
    return int(getattr(sampler, "max_new_tokens", _USUAL_LIMIT))
