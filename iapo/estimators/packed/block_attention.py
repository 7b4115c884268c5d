"""Attention of a packed forward on a CPU, in blocks of queries, so that masked keys are not computed.

A packed forward over ``n`` copies of a block of tokens (`iapo.estimators.packed.Block`) has a mask that hides every
copy from the others. A dense kernel computes the hidden part all the same. Here neighboring copies form a query block,
which is given its own keys and the cached keys as far as its longest prefix reaches. The result is the same up to
rounding, and long packed forwards get faster.

The function is registered with transformers under `NAME`. The query blocks travel with the mask, as an attribute of the
tensor; a model that hands its layers another tensor gets dense attention under the mask it made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "iapo_blocks"
"""The attention implementation's name in transformers."""
_QUERIES = 64
"""Query tokens of a query block, about."""


@dataclass(frozen=True, eq=False)
class QueryBlock:
    """Queries ``begin`` to ``end``, the number of cached keys they are shown, and the mask of own and cached keys."""

    begin: int
    end: int
    cached: int
    mask: Float[Tensor, "batch 1 query key"]


def attach_query_blocks(mask: Float[Tensor, "batch 1 query key"], size: int, cached: Sequence[int]) -> None:
    """Give a mask its query blocks, in the attribute ``query_blocks``.

    Args:
        mask: additive; keys are the queries' own, then the cached ones.
        size: tokens of a copy.
        cached: for each copy, how many cached keys its prefixes reach in any row.
    """
    copies, queries = max(1, _QUERIES // size), mask.shape[2]
    blocks = []
    for first in range(0, len(cached), copies):
        begin, end = first * size, min((first + copies) * size, queries)
        longest = max(cached[first : first + copies])
        rows = mask[:, :, begin:end]
        seen = torch.cat([rows[..., begin:end], rows[..., queries : queries + longest]], 3)
        blocks.append(QueryBlock(begin, end, longest, seen))
    mask.query_blocks = blocks  # type: ignore[attr-defined]


def block_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention, by query blocks if the mask has any; the signature is that of transformers.

    Args:
        module: the attention layer.
        query: ``[batch, head, query, size]``.
        key: ``[batch, key-value head, key, size]``, a divisor of the heads.
        value: like ``key``.
        attention_mask: additive.
        scaling: of the logits.
        kwargs: for dense attention.

    Returns:
        ``[batch, query, head, size]`` and no attention weights.
    """
    blocks: list[QueryBlock] | None = getattr(attention_mask, "query_blocks", None)
    grouped = query.shape[1] != key.shape[1]
    if blocks is None and attention_mask is not None and kwargs.get("position_bias") is None:
        # As below, without the copies of keys for every head that transformers makes where there is a mask.
        output = nn.functional.scaled_dot_product_attention(
            query, key, value, attention_mask, scale=scaling, enable_gqa=grouped
        )
        return output.transpose(1, 2).contiguous(), None
    if blocks is None or kwargs.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    queries = query.shape[2]
    output = query.new_empty(query.shape[0], queries, query.shape[1], value.shape[3])
    for block in blocks:
        own, cached = slice(block.begin, block.end), slice(queries, queries + block.cached)
        keys, values = (torch.cat([states[:, :, own], states[:, :, cached]], 2) for states in (key, value))
        output[:, own] = nn.functional.scaled_dot_product_attention(
            query[:, :, own], keys, values, block.mask, scale=scaling, enable_gqa=grouped
        ).transpose(1, 2)
    return output, None


AttentionInterface.register(NAME, block_attention_forward)
AttentionMaskInterface.register(NAME, sdpa_mask)
