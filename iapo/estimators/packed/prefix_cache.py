"""A key-value cache that many blocks read and none changes."""

from contextlib import suppress
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import DynamicCache

from iapo.estimators.packed.attention import check_length
from iapo.estimators.packed.matmul import fast_matmul
from iapo.policy.forward import cache_argument, positions, unwrap
from iapo.policy.logprobs import at_temperature, token_logprobs
from iapo.policy.ranks import is_collective
from iapo.policy.support import check_text
from iapo.types import Rollout


class _Filled(Exception):  # noqa: N818 - not an error: the way out of a forward that nothing more is wanted from
    """The last layer's keys and values are there."""


class PrefixCache(DynamicCache):
    """Keys and values of prompts and completions, in a buffer with room for one block forward in front of them.

    A block's own keys are written into that room, and attention is given the room and the cache as one view: nothing is
    copied, nothing grows, nothing has to be cropped. So the key axis of a block forward is ``own tokens, cached
    tokens``: attention does not care about the order of keys, whose positions are already in them.

    Args:
        real: ``True`` at the cached tokens that are not padding.
        layers: leave the first forward as soon as so many layers have handed over; ``None``: let it end.
    """

    def __init__(self, real: Bool[Tensor, "batch cached"], layers: int | None = None) -> None:
        super().__init__()
        self.real = real
        self._layers = layers
        self.limit = real.shape[1]
        self._rooms: list[int] = []
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    def reserve(self, room: int) -> None:
        """Make room for blocks of up to ``room`` tokens."""
        for layer, there in enumerate(self._rooms):
            if room > there:
                # Both, then the change: memory may run out in between, and the caller try again with less.
                grown = [_with_room(buffers[layer][:, :, there:], room) for buffers in (self._keys, self._values)]
                self._keys[layer], self._values[layer] = grown
                self._rooms[layer] = room

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep the first forward's keys and values; show a later one its own and those cached before ``limit``."""
        if layer_idx == len(self._keys):
            self._keys.append(key_states)
            self._values.append(value_states)
            self._rooms.append(0)
            if len(self._keys) == self._layers:
                raise _Filled
            return key_states, value_states
        room = self._rooms[layer_idx]
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        return self._seen(keys, key_states, room), self._seen(values, value_states, room)

    def _seen(self, buffer: Tensor, own: Tensor, room: int) -> Tensor:
        start = room - own.shape[-2]
        buffer[:, :, start:room] = own
        return buffer[:, :, start : room + self.limit]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Cached tokens that are shown."""
        if layer_idx >= len(self._keys):
            return 0
        return min(self.limit, self._keys[layer_idx].shape[-2] - self._rooms[layer_idx])


def fill_cache(model: nn.Module, rollout: Rollout, longest: int) -> PrefixCache:
    """One forward over the prompts and the first ``longest`` completion tokens, its keys and values kept.

    A model that stands alone, neither wrapped, compiled nor sharded, is left once its last layer has its keys: what
    that layer would make of them is not needed. Call it in evaluation mode without gradients
    (`iapo.policy.forward.inference_mode`).

    Raises:
        RuntimeError: the model did not hand its keys and values to the cache, one per position.
        ValueError: a text is longer than the model's positions; see `iapo.estimators.packed.attention.check_length`.
    """
    ids = torch.cat([rollout.prompt_ids, rollout.completion_ids[:, :longest]], 1)
    real = torch.cat([rollout.prompt_mask, rollout.completion_mask[:, :longest]], 1)
    alone = unwrap(model) is model and model._compiled_call_impl is None and not is_collective(model)
    cache = PrefixCache(real, unwrap(model).config.get_text_config().num_hidden_layers if alone else None)
    with suppress(_Filled):
        _fill(model, ids, cache, logits_to_keep=1)
    _check_filled(cache, ids.shape[1])
    return cache


def fill_cache_and_score(
    model: nn.Module, rollout: Rollout, temperature: float = 1.0
) -> tuple[PrefixCache, Float[Tensor, "batch token"]]:
    """`fill_cache` of the whole completions, and `iapo.policy.logprobs.completion_logprobs` by the same forward.

    Raises:
        RuntimeError, ValueError: as `fill_cache` raises them.
        iapo.policy.forward.UnsupportedModelError: as `iapo.policy.logprobs.completion_logprobs` raises it.
    """
    ids = torch.cat([rollout.prompt_ids, rollout.completion_ids], 1)
    cache = PrefixCache(torch.cat([rollout.prompt_mask, rollout.completion_mask], 1))
    check_text(model, cache.real)
    logits = _fill(model, ids, cache, logits_to_keep=rollout.completion_ids.shape[1] + 1)[:, :-1]
    _check_filled(cache, ids.shape[1])
    logprobs = token_logprobs(at_temperature(logits, temperature), rollout.completion_ids)
    return cache, logprobs.masked_fill(~rollout.completion_mask, 0)


def _fill(
    model: nn.Module, ids: Int[Tensor, "batch cached"], cache: PrefixCache, logits_to_keep: int
) -> Float[Tensor, "batch kept vocab"]:
    check_length(unwrap(model).config.get_text_config(), int(cache.real.sum(1).max()))
    with fast_matmul(model):
        output = model(
            input_ids=ids,
            attention_mask=cache.real.long(),
            position_ids=positions(cache.real),
            use_cache=True,
            logits_to_keep=logits_to_keep,
            **{cache_argument(model): cache},
        )
    logits: Tensor = output.logits
    return logits


def _check_filled(cache: PrefixCache, width: int) -> None:
    if cache.get_seq_length() != width:
        raise RuntimeError(
            f"the model put {cache.get_seq_length()} positions into the key-value cache it was given, want "
            f"{width}: it does not keep every key, so prefixes cannot be probed"
        )


def _with_room(cached: Tensor, room: int) -> Tensor:
    batch, heads, length, size = cached.shape
    buffer = cached.new_empty(batch, heads, room + length, size)
    buffer[:, :, room:] = cached
    return buffer
