"""The packed postfix forward: the answer asked for after every prefix of a completion, no prefix computed twice.

One forward over prompt and completion fills the key-value cache. Then, for a chunk of ``n`` prefixes, one forward runs
over ``n`` copies of a block (postfix, and answer tokens where they are teacher-forced) against that cache, un-copied:
an additive mask lets token ``j`` of copy ``i`` see the cache up to the end of prefix ``i``, padding excluded, and
tokens ``0..j`` of its own copy; explicit positions say that it stands right behind its prefix. Chunks go from the
longest prefixes to the shortest and the cache is cropped on the way, so that no forward sees keys that none of its
prefixes has.
"""

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import DynamicCache

from iapo.estimators.attention import mask_windows, packable_attention
from iapo.estimators.memory import choose_chunk, halving_chunk
from iapo.forward import positions, scoring
from iapo.types import Rollout

Reduce = Callable[[Tensor], Tensor]
"""Turns logits ``[batch, prefix, kept, vocab]`` into values ``[batch, prefix]``."""


def needed_probes(rollout: Rollout) -> Bool[Tensor, "batch probe"]:
    """``True`` at the probes beside a token of the reasoning mask: those that a difference will read."""
    mask = nn.functional.pad(rollout.reasoning_mask, (1, 1))
    return mask[:, 1:] | mask[:, :-1]


def probe_prefixes(
    model: nn.Module,
    rollout: Rollout,
    blocks: Int[Tensor, "batch block"],
    kept: int,
    reduce: Reduce,
    chunk: int | None,
    columns: Int[Tensor, " column"] | None = None,
) -> Float[Tensor, "batch probe"]:
    """``reduce`` of the last ``kept`` logits of ``blocks`` after every prefix that `needed_probes` names, 0 elsewhere.

    Exact: equal to running the model on every prefix followed by the block, one by one, up to rounding.

    Args:
        model: a causal language model, possibly wrapped.
        rollout: the completions whose prefixes are probed.
        blocks: the tokens appended to each prefix of a row.
        kept: how many positions at the end of the block have their logits computed.
        reduce: from logits ``[batch, prefix, kept, vocab]`` to values ``[batch, prefix]``.
        chunk: prefixes per forward; ``None``: chosen from the memory there is. Results agree up to rounding.
        columns: the prefixes to probe, in ascending order; ``None``: all that are needed.

    Raises:
        ValueError: no prompt token, or texts longer than the model's positions.
        iapo.estimators.attention.UnsupportedModelError: the model's layers cannot honour the mask.
    """
    needed = needed_probes(rollout)
    columns = needed.any(0).nonzero().flatten() if columns is None else columns
    dtype = next(model.parameters()).dtype
    values = torch.zeros(needed.shape, device=needed.device, dtype=torch.promote_types(dtype, torch.float32))
    if len(columns) == 0:
        return values
    prompt = rollout.prompt_ids.shape[1]
    if prompt == 0:
        raise ValueError("rollout.prompt_ids: has no columns, want at least one prompt token")
    with packable_attention(model) as config, scoring(model):
        _check_positions(config, rollout, needed, blocks.shape[1])

        probed = columns

        def run(size: int) -> None:
            cache = _fill_cache(model, rollout, int(probed[-1]))
            for part in reversed(probed.split(size)):
                _crop(cache, prompt + int(part[-1]))
                values[:, part] = reduce(_packed_logits(model, config, rollout, blocks, kept, cache, part)).to(values)

        keys = prompt + int(columns[-1])
        size = chunk or choose_chunk(len(rollout), keys, blocks.shape[1], kept, config, needed.device)
        halving_chunk(run, size)
    return values.masked_fill(~needed, 0)


def _fill_cache(model: nn.Module, rollout: Rollout, longest: int) -> DynamicCache:
    ids = torch.cat([rollout.prompt_ids, rollout.completion_ids[:, :longest]], 1)
    mask = torch.cat([rollout.prompt_mask, rollout.completion_mask[:, :longest]], 1)
    cache = DynamicCache()
    model(
        input_ids=ids,
        attention_mask=mask.long(),
        position_ids=positions(mask),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    _check_length(cache, ids.shape[1])
    return cache


def _packed_logits(
    model: nn.Module,
    config: Any,
    rollout: Rollout,
    blocks: Int[Tensor, "batch block"],
    kept: int,
    cache: DynamicCache,
    prefixes: Int[Tensor, " prefix"],
) -> Float[Tensor, "batch prefix kept vocab"]:
    """Logits of the last ``kept`` block positions after each of ``prefixes`` (completion tokens seen)."""
    count, block = len(prefixes), blocks.shape[1]
    cached = cache.get_seq_length()
    start = rollout.prompt_mask.sum(1)[:, None] + prefixes
    steps = torch.arange(block, device=prefixes.device)
    position_ids = rearrange(start[:, :, None] + steps, "batch prefix block -> batch (prefix block)")
    mask = _packed_mask(rollout, prefixes, block, cached)
    keep = torch.arange(count * block, device=prefixes.device).view(count, block)[:, block - kept :].flatten()
    logits = model(
        input_ids=repeat(blocks, "batch block -> batch (prefix block)", prefix=count),
        attention_mask=_additive(mask, position_ids, rollout, cached, config, next(model.parameters()).dtype),
        position_ids=position_ids,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=keep,
    ).logits
    _check_length(cache, cached + count * block)
    return rearrange(logits, "batch (prefix kept) vocab -> batch prefix kept vocab", prefix=count)


def _packed_mask(
    rollout: Rollout, prefixes: Int[Tensor, " prefix"], block: int, cached: int
) -> Bool[Tensor, "batch query key"]:
    """What token ``j`` of copy ``i`` sees: its prefix in the cache, then tokens ``0..j`` of its own copy."""
    prompt, count, device = rollout.prompt_ids.shape[1], len(prefixes), prefixes.device
    real = torch.cat([rollout.prompt_mask, rollout.completion_mask], 1)[:, :cached]
    inside = torch.arange(cached, device=device) < prompt + prefixes[:, None]
    prefix_part = repeat(real[:, None] & inside, "batch prefix key -> batch (prefix block) key", block=block)
    copy = torch.arange(count, device=device).repeat_interleave(block)
    step = torch.arange(block, device=device).repeat(count)
    own_part = (copy[:, None] == copy) & (step[:, None] >= step)
    return torch.cat([prefix_part, own_part.expand(len(rollout), -1, -1)], 2)


def _additive(
    mask: Bool[Tensor, "batch query key"],
    position_ids: Int[Tensor, "batch query"],
    rollout: Rollout,
    cached: int,
    config: Any,
    dtype: torch.dtype,
) -> Tensor | dict[str, Tensor]:
    """The mask in the form the model takes: one additive 4-D tensor, or one per layer type where layers differ."""

    def additive(allowed: Tensor) -> Tensor:
        zeros = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
        return zeros.masked_fill(~allowed, torch.finfo(dtype).min)[:, None]

    windows = mask_windows(config)
    if windows == {"": None}:
        return additive(mask)
    cached_mask = torch.cat([rollout.prompt_mask, rollout.completion_mask], 1)[:, :cached]
    distance = position_ids[:, :, None] - torch.cat([positions(cached_mask), position_ids], 1)[:, None]
    masks = {
        layer: additive(mask if window is None else mask & (distance < window)) for layer, window in windows.items()
    }
    return masks.get("", masks)


def _crop(cache: DynamicCache, length: int) -> None:
    surplus = cache.get_seq_length() - length
    if surplus > 0:
        cache.crop(-surplus)
    _check_length(cache, length)


def _check_length(cache: DynamicCache, length: int) -> None:
    if cache.get_seq_length() != length:
        raise RuntimeError(
            f"the model's key-value cache holds {cache.get_seq_length()} positions, want {length}: it does not keep "
            "every key (a static or a sliding cache, say), so prefixes cannot be probed"
        )


def _check_positions(config: Any, rollout: Rollout, needed: Bool[Tensor, "batch probe"], block: int) -> None:
    limit = getattr(config, "max_position_embeddings", None)
    columns = torch.arange(needed.shape[1], device=needed.device)
    longest = int((rollout.prompt_mask.sum(1) + (needed * columns).amax(1)).max()) + block
    if limit is not None and longest > limit:
        raise ValueError(
            f"rollout: prompt, completion and postfix take {longest} positions, the model has {limit} "
            "(config.max_position_embeddings); sample shorter completions or raise it"
        )
