"""The packed postfix forward: the answer asked for after every prefix of a completion, no prefix computed twice.

One forward over prompt and completion fills the key-value cache (`prefix_cache`). Then, for a chunk of ``n`` prefixes,
one forward runs over ``n`` copies of a block (postfix, and answer tokens where they are teacher-forced) against that
cache, un-copied: a mask (`masks`) lets each token see the cache up to the end of its prefix, padding
excluded, and the tokens of its own copy; explicit positions say that it stands behind its prefix. Chunks go from the
longest prefixes to the shortest, and no forward is shown keys that none of its prefixes has.
"""

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from iapo.estimators.packed.attention import FLEX, packable_attention
from iapo.estimators.packed.block_attention import NAME as BLOCK_ATTENTION
from iapo.estimators.packed.block_attention import attach_query_blocks
from iapo.estimators.packed.blocks import Block
from iapo.estimators.packed.masks import attention_mask, packed_mask
from iapo.estimators.packed.matmul import fast_matmul
from iapo.estimators.packed.memory import choose_chunk, run_in_chunks
from iapo.estimators.packed.prefix_cache import PrefixCache, fill_cache
from iapo.policy.forward import cache_argument, inference_mode
from iapo.policy.ranks import all_reduce_max
from iapo.policy.support import check_length
from iapo.types import Rollout

Reduce = Callable[[Tensor], Tensor]
"""Turns logits ``[batch, prefix, kept, vocab]`` into values ``[batch, prefix]``."""
ReduceColumns = Callable[[Tensor, Tensor], Tensor]
"""The same, given which of the prefixes the logits belong to; values may have further axes."""


def probe_prefixes(
    model: nn.Module,
    rollout: Rollout,
    block: Block,
    reduce: Reduce,
    at: Bool[Tensor, "batch probe"],
    chunk: int | None = None,
    cache: PrefixCache | None = None,
) -> Float[Tensor, "batch probe"]:
    """``reduce`` of the logits that ``block`` keeps after every prefix at ``at``, 0 elsewhere.

    Exact: equal to running the model on every prefix followed by the block, one by one, up to rounding.

    Args:
        model: a causal language model, possibly wrapped.
        rollout: the completions whose prefixes are probed.
        block: the tokens appended to each prefix of a row.
        reduce: from logits ``[batch, prefix, kept, vocab]`` to values ``[batch, prefix]``.
        at: which prefixes; a row may have none.
        chunk: prefixes of a row per forward; ``None``: chosen from the memory there is. It is halved where that was too
            little, unless ranks call the model together. Results agree up to rounding.
        cache: keys and values of prompts and completions; ``None``: made here, as long as ``at`` needs.

    Raises:
        ValueError: no prompt token, or texts longer than the model's positions.
        iapo.policy.forward.UnsupportedModelError: the model's layers cannot honor the mask, or its rotations
            change with the length of the text.
    """
    dtype = torch.promote_types(next(model.parameters()).dtype, torch.float32)
    values = torch.zeros(at.shape, device=at.device, dtype=dtype)
    width = int(at.sum(1).max()) if at.numel() else 0
    if all_reduce_max(width, model) == 0:
        return values
    # Longest first in every row. A row with fewer prefixes repeats its first (seen 0), and the result is dropped; so
    # does a rank without any while others work.
    steps = torch.arange(at.shape[1], device=at.device)
    prefixes = torch.where(at, steps, -1).sort(1, descending=True).values[:, : max(1, width)]
    found = run_blocks(model, rollout, block, lambda logits, _: reduce(logits), prefixes.clamp(min=0), chunk, cache)
    rows, columns = (prefixes >= 0).nonzero(as_tuple=True)
    values[rows, prefixes[rows, columns]] = found[rows, columns].to(dtype)
    return values


def run_blocks(
    model: nn.Module,
    rollout: Rollout,
    block: Block,
    reduce: ReduceColumns,
    prefixes: Int[Tensor, "batch prefix"],
    chunk: int | None = None,
    cache: PrefixCache | None = None,
) -> Tensor:
    """``reduce`` of the logits that ``block`` keeps after each of ``prefixes``, computed chunk by chunk.

    Args:
        model: as for `probe_prefixes`, and so are ``rollout``, ``chunk`` and ``cache``.
        rollout: the completions.
        block: the tokens appended to each prefix; they may differ from prefix to prefix.
        reduce: from logits ``[batch, prefix, kept, vocab]`` and the indices of their prefixes to values ``[batch,
            prefix, ...]``.
        prefixes: completion tokens seen, as many prefixes in every row and on every rank that has any. With -1, the
            prompt's last token is not seen either.
        chunk: prefixes of a row per forward.
        cache: keys and values.

    Returns:
        The values, ``[batch, prefix, ...]``.
    """
    if rollout.prompt_ids.shape[1] == 0:
        raise ValueError("rollout.prompt_ids: has no columns, want at least one prompt token")
    with packable_attention(model) as config, inference_mode(model):
        check_positions(config, rollout, prefixes, block)
        filled = fill_cache(model, rollout, max(0, int(prefixes.max()))) if cache is None else cache

        def run(size: int) -> Tensor:
            filled.reserve(min(size, prefixes.shape[1]) * len(block))
            parts = torch.arange(prefixes.shape[1], device=prefixes.device).split(size)
            found = []
            for part in [*parts, *parts[-1:] * (all_reduce_max(len(parts), model) - len(parts))]:
                logits = packed_logits(model, config, rollout, block.columns(part), filled, prefixes[:, part])
                found.append(reduce(logits, part))
            return torch.cat(found[: len(parts)], 1)

        size = chunk or choose_chunk(len(rollout), filled.real.shape[1], block, config, prefixes.device)
        return run_in_chunks(model, run, size)


def packed_logits(
    model: nn.Module,
    config: Any,
    rollout: Rollout,
    block: Block,
    cache: PrefixCache,
    prefixes: Int[Tensor, "batch prefix"],
) -> Float[Tensor, "batch prefix kept vocab"]:
    """One packed forward: the logits that ``block`` keeps after each of ``prefixes`` (completion tokens seen).

    For what needs the logits themselves, with a gradient if there is one; `probe_prefixes` goes chunk by chunk. Call it
    inside `iapo.estimators.packed.attention.packable_attention`, which yields ``config``, with room for the block
    reserved in ``cache``.
    """
    count, size = prefixes.shape[1], len(block)
    prompt = rollout.prompt_ids.shape[1]
    # FlexAttention skips the keys that no prefix has, and would be compiled anew for another number of them.
    flex = config._attn_implementation == FLEX
    cache.limit = cache.real.shape[1] if flex else prompt + int(prefixes.max())
    real = cache.real[:, : cache.limit]
    start = rollout.prompt_mask.sum(1)[:, None] + prefixes
    position_ids = rearrange(start[:, :, None] + block.depths, "batch prefix block -> batch (prefix block)")
    seen = packed_mask(real, prompt + prefixes, block.visible)
    mask = attention_mask(seen, position_ids, real, config, next(model.parameters()).dtype)
    if config._attn_implementation == BLOCK_ATTENTION:
        for each in mask.values() if isinstance(mask, dict) else (mask,):
            assert isinstance(each, Tensor)
            attach_query_blocks(each, size, (prompt + prefixes.amax(0)).tolist())
    ids = repeat(block.ids, "batch block -> batch prefix block", prefix=count) if block.ids.ndim == 2 else block.ids
    copies = torch.arange(count, device=prefixes.device)[:, None] * size
    with fast_matmul(model):
        logits = model(
            input_ids=rearrange(ids, "batch prefix block -> batch (prefix block)"),
            attention_mask=mask,
            position_ids=position_ids,
            use_cache=True,
            logits_to_keep=(copies + block.kept).flatten(),
            **{cache_argument(model): cache},
        ).logits
    return rearrange(logits, "batch (prefix kept) vocab -> batch prefix kept vocab", prefix=count)


def check_positions(config: Any, rollout: Rollout, prefixes: Int[Tensor, "batch prefix"], block: Block) -> None:
    """Raise unless ``block`` behind each of ``prefixes`` has positions in the model; see `check_length`."""
    ends = rollout.prompt_mask.sum(1)[:, None] + prefixes + block.depths.amax(-1) + 1
    check_length(config, int(ends.max()))
