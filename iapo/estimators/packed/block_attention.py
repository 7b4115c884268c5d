"""Attention of a packed forward on a CPU, tile by tile: copies of a block do not see each other, so why compute it?

A packed forward over ``n`` copies of a block has a mask of which almost everything in front of the cached keys is
masked. The dense kernel computes it all the same; here each tile of neighboring copies is given its own keys and the
cached keys as far as its longest prefix reaches. Same result up to rounding, and long packed forwards pay.

The function is registered with transformers under `NAME`. The tiles travel with the mask, as an attribute of the
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
_TILE = 64
"""Query tokens of a tile, about."""


@dataclass(frozen=True, eq=False)
class Tile:
    """Queries ``begin`` to ``end``, the number of cached keys they are shown, and the mask of own and cached keys."""

    begin: int
    end: int
    cached: int
    mask: Float[Tensor, "batch 1 query key"]


def attach_query_blocks(mask: Float[Tensor, "batch 1 query key"], block: int, cached: Sequence[int]) -> None:
    """Give a mask its tiles.

    Args:
        mask: additive; keys are the queries' own, then the cached ones.
        block: tokens of a copy.
        cached: for each copy, how many cached keys its prefixes reach in any row.
    """
    copies, queries = max(1, _TILE // block), mask.shape[2]
    tiles = []
    for first in range(0, len(cached), copies):
        begin, end = first * block, min((first + copies) * block, queries)
        longest = max(cached[first : first + copies])
        rows = mask[:, :, begin:end]
        seen = torch.cat([rows[..., begin:end], rows[..., queries : queries + longest]], 3)
        tiles.append(Tile(begin, end, longest, seen))
    mask.tiles = tiles  # type: ignore[attr-defined]


def block_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention, by tiles if the mask has any; the signature is that of transformers.

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
    tiles: list[Tile] | None = getattr(attention_mask, "tiles", None)
    if tiles is None or kwargs.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    queries = query.shape[2]
    output = query.new_empty(query.shape[0], queries, query.shape[1], value.shape[3])
    for tile in tiles:
        own, cached = slice(tile.begin, tile.end), slice(queries, queries + tile.cached)
        keys, values = (torch.cat([states[:, :, own], states[:, :, cached]], 2) for states in (key, value))
        output[:, own] = nn.functional.scaled_dot_product_attention(
            query[:, :, own], keys, values, tile.mask, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
        ).transpose(1, 2)
    return output, None


AttentionInterface.register(NAME, block_attention_forward)
AttentionMaskInterface.register(NAME, sdpa_mask)
