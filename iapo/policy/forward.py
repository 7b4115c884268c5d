"""How the library calls a language model: through the module it was given, in evaluation mode, explicit positions."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from iapo.policy.zero import is_engine


class UnsupportedModelError(ValueError):
    """A component cannot work with a model of this kind; the message says why and what to do."""


def unwrap(model: nn.Module) -> Any:
    """The model inside wrappers such as DDP, FSDP, DeepSpeed or ``torch.compile``: the one that has the ``config``.

    Raises:
        TypeError: no module inside has a ``config``."""
    # What an engine of DeepSpeed has of that name is its own: a dictionary, or the name of a file.
    while is_engine(model) or isinstance(getattr(model, "config", {}), dict):
        inner = getattr(model, "module", None) or getattr(model, "_orig_mod", None)
        if inner is None:
            raise TypeError(f"model: want a causal language model with a `config`, got {type(model).__name__}")
        model = inner
    return model


def text_config(model: nn.Module) -> Any:
    """The configuration of the model inside wrappers; where it reads more than text, that of its part for text."""
    return unwrap(model).config.get_text_config()


def cache_argument(model: nn.Module) -> str:
    """The name of the key-value cache in the signature of a model's forward, inside wrappers such as DDP or PEFT.

    ``cache`` where the signature has one that is typed as a `transformers.Cache` (transformers from 5.24 on; XLM's is a
    dictionary of its own), else ``past_key_values``.
    """
    inner = unwrap(model)
    named = next((module for module in inner.modules() if isinstance(module, PreTrainedModel)), inner)
    cache = inspect.signature(named.forward).parameters.get("cache")
    return "cache" if cache is not None and "Cache" in str(cache.annotation) else "past_key_values"


@contextmanager
def inference_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, the training mode of every submodule restored afterwards.

    In training mode, gradient checkpointing silently empties a key-value cache, and dropout adds noise to probes.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def sharded(model: nn.Module) -> bool:
    """Whether weights lie on several ranks (FSDP, ZeRO-3, tensor parallel), so that every forward waits for all."""
    if not several_ranks():
        return False
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.distributed.tensor import DTensor

    # DTensor: FSDP2 and tensor parallel; ds_status: DeepSpeed's ZeRO-3.
    return any(
        isinstance(parameter, DTensor) or getattr(getattr(parameter, "ds_status", None), "name", "") == "NOT_AVAILABLE"
        for parameter in model.parameters()
    ) or any(isinstance(module, FullyShardedDataParallel) for module in model.modules())


def several_ranks() -> bool:
    """Whether this process is one of several."""
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def positions(mask: Bool[Tensor, "batch width"]) -> Int[Tensor, "batch width"]:
    """Position of every token counted in real tokens, so that left padding moves nothing; 0 at the padding itself."""
    return (mask.long().cumsum(1) - 1).clamp(min=0)
