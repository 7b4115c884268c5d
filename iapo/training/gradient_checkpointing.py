"""Gradient checkpointing of an update: layers keep their inputs only, and compute again in the backward."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from iapo.policy.forward import UnsupportedModelError


@contextmanager
def checkpointing(model: nn.Module, on: bool = True) -> Iterator[None]:
    """A block in which forwards that record gradients keep the inputs of each layer and nothing inside of it.

    The switch of transformers (``gradient_checkpointing_enable``) acts in training mode only, which would turn dropout
    on, and there it empties key-value caches. The policy of an update stays in evaluation mode, so layers are
    checkpointed here, whatever their mode. Gradients are bitwise those without it.

    Args:
        model: a model of transformers, possibly wrapped.
        on: ``False``: the block changes nothing.

    Raises:
        iapo.policy.forward.UnsupportedModelError: a model that has no layers of transformers that can be checkpointed.
    """
    layers = [module for module in model.modules() if on and isinstance(module, GradientCheckpointingLayer)]
    if on and not layers:
        raise UnsupportedModelError(
            f"gradient_checkpointing: {type(model).__name__} has no layers that transformers can checkpoint; "
            "leave it off, and lower --micro_batch where memory is short"
        )
    own = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        layer.forward = _checkpointed(layer.forward)
    try:
        yield
    finally:
        for layer, forward in zip(layers, own, strict=True):
            del layer.forward
            if forward is not None:
                layer.forward = forward


def _checkpointed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        return checkpoint(forward, *arguments, use_reentrant=False, **keywords)

    return call
