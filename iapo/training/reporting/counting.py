"""How many tokens a policy was made to sample, seen from its embedding layer, whatever samples."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass
class Sampling:
    """Tokens as they are sampled, counted by the rows of the forwards that read one token of each.

    Rows whose completion has ended count for as long as they stay in the batch.

    Args:
        completions: that will be sampled; 0: not known.
        longest: tokens of a completion at most.
        tokens: sampled so far.
        started: completions that were begun so far.
        rows: completions of the batch that is sampled now.
        step: tokens that each of them has, but for the first.
    """

    completions: int = 0
    longest: int = 0
    tokens: int = 0
    started: int = 0
    rows: int = 0
    step: int = 0

    def see(self, rows: int, width: int) -> None:
        """Take note of a forward over so many rows of so many tokens."""
        if width != 1:
            self.rows, self.step = 0, 0  # a prompt: other completions begin
            return
        if not self.step:
            self.started += rows
            self.tokens += rows  # sampled from the prompts' forward
        self.tokens, self.rows, self.step = self.tokens + rows, rows, self.step + 1

    def left(self) -> float | None:
        """Tokens that are still to be sampled: of what runs up to the limit, of what comes as of what was begun."""
        if not self.completions or not self.started or self.started > self.completions:
            return None
        running = self.rows * max(0, self.longest - self.step - 1)
        return running + (self.completions - self.started) * (self.tokens + running) / self.started


@contextmanager
def watched(model: nn.Module | None, sampling: Sampling) -> Iterator[None]:
    """Count what is sampled from a model in this block; of one that has no embedding layer nothing is counted."""
    find = getattr(model, "get_input_embeddings", None) or getattr(
        getattr(model, "module", None), "get_input_embeddings", None
    )
    embedding = find() if find is not None else None
    if embedding is None:
        yield
        return

    def see(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and inputs[0].ndim == 2:
            sampling.see(*inputs[0].shape)

    hook = embedding.register_forward_hook(see)
    try:
        yield
    finally:
        hook.remove()
