"""A cache layer that appends each token in place instead of copying all tokens before it."""

from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicLayer

_ROOM = 64
"""Tokens that a buffer has room for when it is made."""


class GrowingLayer(DynamicLayer):
    """Keys and values of a full-attention layer, views of buffers with room behind them.

    What selects, repeats or cuts them may replace the views by other tensors, as `DynamicLayer` does: those move into a
    new buffer at the next token.
    """

    def __init__(self) -> None:
        super().__init__()
        self._key_buffer: Tensor | None = None
        self._value_buffer: Tensor | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append the states of new tokens and return those of all."""
        if self.keys is None or self.values is None:
            return super().update(key_states, value_states)
        self._key_buffer = _with_room(self._key_buffer, self.keys, key_states.shape[-2])
        self._value_buffer = _with_room(self._value_buffer, self.values, value_states.shape[-2])
        self.keys = _append(self._key_buffer, self.keys.shape[-2], key_states)
        self.values = _append(self._value_buffer, self.values.shape[-2], value_states)
        return self.keys, self.values


def _with_room(buffer: Tensor | None, held: Tensor, new: int) -> Tensor:
    """``buffer`` if it begins with ``held`` and has room for ``new`` tokens behind it, else one that does."""
    rows, heads, length, size = held.shape
    if buffer is not None and buffer.data_ptr() == held.data_ptr() and length + new <= buffer.shape[-2]:
        return buffer
    buffer = held.new_empty(rows, heads, length + max(new, _ROOM), size)
    buffer[:, :, :length] = held
    return buffer


def _append(buffer: Tensor, length: int, new: Tensor) -> Tensor:
    end = length + new.shape[-2]
    buffer[:, :, length:end] = new
    return buffer[:, :, :end]
