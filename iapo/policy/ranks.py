"""Keeps ranks in step: where forwards wait for all ranks, each must call the model equally often, whatever its rows."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from iapo.policy.forward import several_ranks, sharded
from iapo.policy.zero import beside_engine, zero_stage


def is_collective(model: nn.Module) -> bool:
    """Whether a forward or backward of ``model`` is a collective: sharded weights, DDP, or an engine of DeepSpeed."""
    if not several_ranks():
        return False
    from torch.distributed.fsdp import FSDPModule

    # By class first: after a forward the root of FSDP2 holds whole weights, of which `sharded` sees nothing.
    return isinstance(model, DistributedDataParallel | FSDPModule) or zero_stage(model) > 0 or sharded(model)


def own_forwards(model: nn.Module) -> nn.Module:
    """The model whose forwards wait for no other rank, where each has all weights (DDP, ZeRO-1 and 2): that inside.

    Of weights that are shared out (FSDP2, ZeRO-3) it is the model itself.
    """
    if isinstance(model, DistributedDataParallel) or zero_stage(model) in (1, 2):
        inside: nn.Module = model.get_submodule("module")
        return inside
    return model


def all_reduce_max(count: int, model: nn.Module) -> int:
    """The largest ``count`` of the ranks that call ``model`` together, ``count`` itself if each calls it alone.

    A collective itself: all ranks call it, or none.
    """
    if not is_collective(model):
        return count
    value = torch.tensor(count, device=next(model.parameters()).device)
    torch.distributed.all_reduce(value, torch.distributed.ReduceOp.MAX)
    return int(value)


def unsynced(model: nn.Module) -> AbstractContextManager[Any]:
    """A block in which forwards and backwards of DDP and of DeepSpeed do not wait for those of other ranks.

    It is for gradients that stay on a rank, and under DDP for all micro-batches of a step but the last: gradients add
    up on each rank, and the last backward averages them. Forwards of sharded weights wait for each other all the same.
    """
    if zero_stage(model):
        return beside_engine(model)
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
