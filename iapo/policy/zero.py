"""A policy inside an engine of DeepSpeed, which shares optimizer, gradients (ZeRO-2) and weights (ZeRO-3) out."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


def zero_stage(model: nn.Module) -> int:
    """The stage of ZeRO of an engine of DeepSpeed; 0 of any other model."""
    deepspeed: Any = sys.modules.get("deepspeed")  # where nothing has imported it, there is no engine
    engine = getattr(deepspeed, "DeepSpeedEngine", ())
    return int(model.zero_optimization_stage()) if isinstance(model, engine) else 0


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
    forward, model.forward = vars(model).get("forward"), model.module.__call__
    try:
        yield
    finally:
        del model.forward
        if forward is not None:
            model.forward = forward
