"""A policy inside an engine of DeepSpeed, which shares optimizer, gradients (ZeRO-2) and weights (ZeRO-3) out."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def is_engine(model: Any) -> bool:
    """Whether a model is an engine of DeepSpeed."""
    deepspeed: Any = sys.modules.get("deepspeed")  # where nothing has imported it, there is no engine
    return isinstance(model, getattr(deepspeed, "DeepSpeedEngine", ()))


def zero_stage(model: Any) -> int:
    """The stage of ZeRO of an engine of DeepSpeed; 0 of any other model."""
    return int(model.zero_optimization_stage()) if is_engine(model) else 0


@contextmanager
def zero_gathered(model: nn.Module) -> Iterator[None]:
    """A block in which each rank has the weights that ZeRO-3 shares out, and forwards wait for no other rank."""
    import deepspeed

    # `unwrap_model_for_generation` of DeepSpeed leaves the hook that compares the ranks' forwards.
    offload: Any = getattr(model.optimizer, "parameter_offload", model.optimizer)
    with deepspeed.zero.GatheredParameters(model.parameters()):
        offload.destroy()  # the hooks of forwards and backwards, and that one
        offload.forward_hooks, offload.backward_hooks = [], []
        try:
            yield
        finally:
            offload.setup_zero_stage3_hooks()


@contextmanager
def beside_engine(model: Any) -> Iterator[None]:
    """A block in which an engine's forwards are its module's, so that gradients taken there are none of a step's."""
    with _calling(model, model.module.__call__):
        yield


def keep_autocast(engine: Any) -> None:
    """Let the forwards of an engine run under the autocast of whoever calls it, on each device.

    DeepSpeed takes autocast from its own configuration alone, and switches that of CUDA off inside the engine.
    """
    whole, device = engine.forward, next(engine.module.parameters()).device.type

    def forward(*arguments: Any, **keywords: Any) -> Any:
        outer = torch.autocast(
            device,
            torch.get_autocast_dtype(device),
            torch.is_autocast_enabled(device),
            torch.is_autocast_cache_enabled(),
        )
        with _calling(engine.module, outer(engine.module.forward)):
            return whole(*arguments, **keywords)

    engine.forward = forward


@contextmanager
def _calling(model: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """A block in which a module's forward is another."""
    before, model.forward = vars(model).get("forward"), forward
    try:
        yield
    finally:
        del model.forward
        if before is not None:
            model.forward = before
