"""What the tokens of a packed forward see, in the form that the model takes."""

from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from iapo.estimators.packed.attention import FLEX, mask_windows
from iapo.policy.forward import positions


def packed_mask(
    real: Bool[Tensor, "batch cached"],
    ends: Int[Tensor, "batch prefix"],
    visible: Bool[Tensor, "block block"],
) -> Bool[Tensor, "batch query key"]:
    """Keys that each packed token sees: of its own copy as ``visible`` says, then its prefix in the cache.

    Args:
        real: ``True`` at the cached tokens that are not padding.
        ends: cached positions, padding included, that belong to each prefix: all before this one.
        visible: row ``i`` is ``True`` at the block tokens that block token ``i`` sees.

    Returns:
        ``query = prefix * block``, ``key = prefix * block + cached``.
    """
    batch, count = ends.shape
    block = len(visible)
    same = torch.eye(count, dtype=torch.bool, device=real.device)
    own = rearrange(same[:, None, :, None] & visible[:, None, :], "copy query other key -> (copy query) (other key)")
    inside = torch.arange(real.shape[1], device=real.device) < ends[:, :, None]
    prefix = repeat(real[:, None] & inside, "batch prefix key -> batch (prefix block) key", block=block)
    return torch.cat([own.expand(batch, -1, -1), prefix], 2)


def attention_mask(
    mask: Bool[Tensor, "batch query key"],
    position_ids: Int[Tensor, "batch query"],
    real: Bool[Tensor, "batch cached"],
    config: Any,
    dtype: torch.dtype,
) -> Tensor | BlockMask | dict[str, Tensor] | dict[str, BlockMask]:
    """The mask as the attention back end takes it, or one per layer type where layers differ, windows in positions.

    An additive tensor ``[batch, 1, query, key]``; for FlexAttention a block mask, so that blocks without a visible key,
    which are most where copies would see each other, are skipped.

    Args:
        mask: as `packed_mask` returns it.
        position_ids: of the packed tokens.
        real: as for `packed_mask`.
        config: the model's text config, whose attention implementation is the one in force.
        dtype: of the model's activations.
    """
    windows = mask_windows(config)
    if windows == {"": None}:
        return _as_taken(mask, config, dtype)
    distance = position_ids[:, :, None] - torch.cat([position_ids, positions(real)], 1)[:, None]
    masks = {
        layer: _as_taken(mask if window is None else mask & (distance < window), config, dtype)
        for layer, window in windows.items()
    }
    return masks.get("", masks)


def _as_taken(allowed: Bool[Tensor, "batch query key"], config: Any, dtype: torch.dtype) -> Any:
    if config._attn_implementation == FLEX:
        return create_block_mask(
            lambda row, head, query, key: allowed[row, query, key],
            B=allowed.shape[0],
            H=None,
            Q_LEN=allowed.shape[1],
            KV_LEN=allowed.shape[2],
            device=allowed.device,
        )
    zeros = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return zeros.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]
