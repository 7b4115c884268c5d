"""A key-value cache that many blocks read and none changes."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import DynamicCache

from iapo.estimators.packed.attention import FLEX
from iapo.estimators.packed.matmul import fast_matmul
from iapo.estimators.packed.memory import MAX_LOGITS
from iapo.policy.forward import cache_argument, positions, text_config, unwrap
from iapo.policy.logprobs import texts_of, token_logprobs
from iapo.policy.ranks import all_reduce_max, is_collective
from iapo.policy.support import check_length, check_text
from iapo.types import Rollout

_FILLING_TOKENS = {"cpu": 1024, "cuda": 4096}
"""Tokens of a row per forward that fills a cache: more do not pay, and take masks and activations of their length."""


class _Filled(Exception):  # noqa: N818 - not an error: the way out of a forward that nothing more is wanted from
    """The last layer's keys and values are there."""


class PrefixCache(DynamicCache):
    """Keys and values of prompts and completions, in a buffer with room for one block forward in front of them.

    A block's own keys are written into that room, and attention is given the room and the cache as one view: nothing is
    copied, nothing grows, nothing has to be cropped. So the key axis of a block forward is ``own tokens, cached
    tokens``: attention does not care about the order of keys, whose positions are already in them.

    Args:
        real: ``True`` at the cached tokens that are not padding.
        layers: leave a forward that fills it as soon as so many layers have handed over; ``None``: let it end.
    """

    def __init__(self, real: Bool[Tensor, "batch cached"], layers: int | None = None) -> None:
        super().__init__()
        self.real = real
        self._layers = layers
        self.limit = real.shape[1]
        self._rooms: list[int] = []
        self._lengths: list[int] = []
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
        """Keep what a forward that fills the cache hands over; show a later one its own and the first ``limit``."""
        if layer_idx == len(self._keys):
            whole = (*key_states.shape[:2], self.real.shape[1], key_states.shape[3])
            alone = key_states.shape[2] == whole[2]
            self._keys.append(key_states if alone else key_states.new_empty(whole))
            self._values.append(value_states if alone else value_states.new_empty((*whole[:3], value_states.shape[3])))
            self._rooms.append(0)
            self._lengths.append(0)
        if self._lengths[layer_idx] < self.real.shape[1]:
            return self._fill(key_states, value_states, layer_idx)
        room = self._rooms[layer_idx]
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        return self._seen(keys, key_states, room), self._seen(values, value_states, room)

    def _fill(self, key_states: Tensor, value_states: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        there, width = self._lengths[layer], self.real.shape[1]
        end = there + key_states.shape[2]
        if end > width:
            raise RuntimeError(_wrong_length(end, width))
        self._lengths[layer] = end
        found = []
        for buffer, states in ((self._keys[layer], key_states), (self._values[layer], value_states)):
            if buffer is not states:
                buffer[:, :, there:end] = states
            found.append(buffer[:, :, :end])
        if layer + 1 == self._layers:
            raise _Filled
        return found[0], found[1]

    def _seen(self, buffer: Tensor, own: Tensor, room: int) -> Tensor:
        start = room - own.shape[-2]
        buffer[:, :, start:room] = own
        return buffer[:, :, start : room + self.limit]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Cached tokens that are shown."""
        return min(self.limit, self._lengths[layer_idx]) if layer_idx < len(self._lengths) else 0

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """Keys that a forward which fills the cache is shown, its own included, and the first one's index."""
        return self.get_seq_length(layer_idx if layer_idx < len(self._lengths) else 0) + query_length, 0


def fill_cache(model: nn.Module, rollout: Rollout, longest: int) -> PrefixCache:
    """Forwards over the prompts and the first ``longest`` completion tokens, their keys and values kept.

    They take so many tokens at once that nothing but the cache grows with the length of the texts. A model that stands
    alone, neither wrapped, compiled nor sharded, is left once its last layer has its keys: what that layer would make
    of them is not needed. Call it in evaluation mode without gradients (`iapo.policy.forward.inference_mode`).

    Raises:
        RuntimeError: the model did not hand its keys and values to the cache, one per position.
        ValueError: a text is longer than the model's positions; see `iapo.policy.support.check_length`.
    """
    ids, real = (each[:, : rollout.prompt_ids.shape[1] + longest] for each in texts_of(rollout))
    alone = unwrap(model) is model and model._compiled_call_impl is None and not is_collective(model)
    cache = PrefixCache(real, text_config(model).num_hidden_layers if alone else None)
    list(_fill(model, ids, cache, filling_tokens(model, ids.shape[1])))
    return cache


def fill_cache_and_score(
    model: nn.Module, rollout: Rollout, temperature: float = 1.0
) -> tuple[PrefixCache, Float[Tensor, "batch token"]]:
    """`fill_cache` of the whole completions, and `iapo.policy.logprobs.completion_logprobs` by the same forwards.

    Raises:
        RuntimeError, ValueError: as `fill_cache` raises them.
        iapo.policy.forward.UnsupportedModelError: as `iapo.policy.logprobs.completion_logprobs` raises it.
    """
    ids, real = texts_of(rollout)
    cache = PrefixCache(real)
    check_text(model, cache.real)
    token = rollout.completion_ids.shape[1]
    vocab = text_config(model).vocab_size
    tokens = min(filling_tokens(model, ids.shape[1]), max(1, MAX_LOGITS // max(1, len(ids) * vocab)))
    parts, start = [], 0
    for logits in _fill(model, ids, cache, tokens, scored=token + 1):
        following = ids[:, ids.shape[1] - token :][:, start : start + logits.shape[1]]
        start += following.shape[1]
        parts.append(token_logprobs(logits[:, : following.shape[1]], following, temperature))
    return cache, torch.cat(parts, 1).masked_fill(~rollout.completion_mask, 0)


def filling_tokens(model: nn.Module, width: int) -> int:
    """Tokens of each row that one forward which fills a cache takes."""
    if text_config(model)._attn_implementation == FLEX:
        return max(1, width)  # its mask takes no memory to speak of, and another number of keys is compiled anew
    return _FILLING_TOKENS["cpu" if next(model.parameters()).device.type == "cpu" else "cuda"]


def _fill(
    model: nn.Module, ids: Int[Tensor, "batch cached"], cache: PrefixCache, tokens: int, scored: int = 0
) -> Iterator[Float[Tensor, "batch part vocab"]]:
    """Fill the cache, ``tokens`` of a row at once, and yield the logits of the last ``scored`` tokens, part by part."""
    width = ids.shape[1]
    check_length(text_config(model), int(cache.real.sum(1).max()))
    places = positions(cache.real)
    # Ranks that wait for each other take as few tokens, and as many forwards, as the one that needs it.
    starts = range(0, width, -all_reduce_max(-tokens, model))
    for start in starts:
        part = slice(start, min(start + starts.step, width))
        kept = min(part.stop - start, part.stop - (width - scored))
        with suppress(_Filled), fast_matmul(model):
            logits = model(
                input_ids=ids[:, part],
                attention_mask=cache.real[:, : part.stop].long(),
                position_ids=places[:, part],
                use_cache=True,
                logits_to_keep=max(1, kept),
                **{cache_argument(model): cache},
            ).logits
        if cache.get_seq_length() != part.stop:
            raise RuntimeError(_wrong_length(cache.get_seq_length(), part.stop))
        if kept > 0:
            yield logits[:, -kept:]
    for _ in range(all_reduce_max(len(starts), model) - len(starts)):
        model(input_ids=ids[:, :1], use_cache=False, logits_to_keep=1)


def _wrong_length(found: int, wanted: int) -> str:
    return (
        f"the model put {found} positions into the key-value cache it was given, want {wanted}: it does not keep every "
        "key, so prefixes cannot be probed"
    )


def _with_room(cached: Tensor, room: int) -> Tensor:
    batch, heads, length, size = cached.shape
    buffer = cached.new_empty(batch, heads, room + length, size)
    buffer[:, :, room:] = cached
    return buffer
