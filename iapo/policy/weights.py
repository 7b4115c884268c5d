"""The weights of a policy as a checkpoint names them, adapters merged, and whether they changed."""

import copy
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers.core_model_loading import revert_weight_conversion

from iapo.policy.forward import unwrap

_WORDS = 1024
"""Words of 64 bits in a row of a weight's bits."""


@torch.no_grad()
def checkpoint_weights(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by the names that ``save_pretrained`` writes, wrappers taken off.

    Adapters of PEFT that change weights (LoRA and the like) are merged into copies, so that the model stays as it is;
    adapters that are switched off are left out. Other weights are not copied. A weight with several names, such as
    a head tied to the embeddings, has the first.

    Args:
        model: a causal language model of transformers, possibly wrapped (DDP, PEFT), which `check_causal` lets pass: a
            prompt that is learned is no weight of it.
    """
    inner = base_model(model)
    weights: dict[str, Tensor] = {}
    seen: dict[int, Tensor] = {}  # which keeps merged weights alive, so that none gets the id of another
    for name, value in _walk(inner, ""):
        if id(value) not in seen:
            seen[id(value)] = value
            weights[name] = value.detach()
    return revert_weight_conversion(inner, weights)


def base_model(model: nn.Module) -> Any:
    """The model of transformers inside wrappers, one of PEFT among them."""
    inner = unwrap(model)
    has_adapters = hasattr(inner, "peft_config") and hasattr(inner, "get_base_model")
    return inner.get_base_model() if has_adapters else inner


def fingerprint(weights: dict[str, Tensor]) -> tuple[int, ...]:
    """Numbers that differ if a bit of a weight does, or a weight moves; two passes over the weights.

    The bits themselves are read, because nothing else tells of every change: an optimizer that writes through
    ``parameter.data`` or by a kernel of its own moves no version counter.

    Args:
        weights: by name.

    Example:
        >>> weights = {"weight": torch.zeros(2, 3)}
        >>> before = fingerprint(weights)
        >>> weights["weight"].data[1, 2] = 1e-30
        >>> fingerprint(weights) == before
        False
    """
    by_device: dict[torch.device, list[Tensor]] = defaultdict(list)
    for value in weights.values():
        by_device[value.device].append(_sums(value))
    return tuple(number for sums in by_device.values() for number in torch.cat(sums).tolist())


def _sums(value: Tensor) -> Tensor:
    """Three sums over the bits, modulo 2^64, that depend on where they stand.

    The bits are words of 64 in rows of `_WORDS`: sums of rows, sums of columns, and the bytes behind the last row, each
    weighted by its place.
    """
    data = value.detach().contiguous().view(-1).view(torch.uint8)
    end = len(data) // (8 * _WORDS) * (8 * _WORDS)
    aligned = data if data.storage_offset() % 8 == 0 else data.clone()
    words = aligned[:end].view(torch.int64).view(-1, _WORDS)
    return torch.stack([_weighted(sums) for sums in (words.sum(1), words.sum(0), data[end:].long())])


def _weighted(sums: Tensor) -> Tensor:
    # Odd weights, so that no change of one number is lost, and all different, so that no swap is.
    weights = (2 * torch.arange(len(sums), device=sums.device) + 1) * 0x1E3779B97F4A7C15
    return (sums * weights).sum()


def _walk(module: nn.Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """The state of a module and of those inside it, adapters merged."""
    module = _without_adapters(module)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield prefix + name, parameter
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._non_persistent_buffers_set:
            yield prefix + name, buffer
    for name, child in module.named_children():
        yield from _walk(child, f"{prefix}{name}.")


def _without_adapters(module: Any) -> nn.Module:
    """The plain layer in place of a layer of PEFT: with the weights that the active adapters make of its own."""
    if hasattr(module, "modules_to_save") and hasattr(module, "original_module"):
        active = module.active_adapter if isinstance(module.active_adapter, str) else next(iter(module.active_adapter))
        on = not module.disable_adapters and active in module.modules_to_save
        return module.modules_to_save[active] if on else module.original_module
    if not (hasattr(module, "get_base_layer") and hasattr(module, "merge")):
        return module
    if module.disable_adapters or module.merged:
        return module.get_base_layer()
    merged = copy.deepcopy(module)
    merged.merge()
    return merged.get_base_layer()
