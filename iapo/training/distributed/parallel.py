"""A policy wrapped for several processes: by DDP, or with its weights sharded over them by FSDP2."""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from iapo.policy.forward import UnsupportedModelError
from iapo.training.distributed.processes import Processes


@dataclass(frozen=True)
class Sharding:
    """How FSDP2 shards a policy over the processes.

    Args:
        layers: class names of the layers that are gathered one at a time; none: those that transformers does not split.
        reshard_after_forward: give a layer's gathered weights up after its forward, and gather them again for its
            backward (ZeRO-3); ``False`` keeps them (ZeRO-2), faster with more memory.
    """

    layers: tuple[str, ...] = ()
    reshard_after_forward: bool = True


def wrap(model: nn.Module, processes: Processes, sharding: Sharding | None = None) -> nn.Module:
    """The policy as the processes train it together: by DDP, or with its weights sharded by FSDP2.

    Args:
        model: on this process's device, with the same weights everywhere.
        processes: one: the model itself is returned.
        sharding: ``None``: DDP, each process has all weights.

    Raises:
        iapo.policy.forward.UnsupportedModelError: a model to be sharded without layers of the classes wanted.
    """
    if processes.size == 1:
        return model
    if sharding is None:
        # A bucket a parameter: sums do not depend on the order in which gradients came in the first backward, which a
        # resumed run has anew. Buffers are constants, and a forward in which they are sent would wait for the others.
        names = inspect.signature(DistributedDataParallel).parameters
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
        options: dict[str, Any] = {buffers: False, "bucket_cap_mb": 1e-9}
        return DistributedDataParallel(model, **options)
    return _shard(model, sharding)


def _shard(model: nn.Module, sharding: Sharding) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    names = set(sharding.layers or getattr(model, "_no_split_modules", None) or ())
    layers = [module for module in model.modules() if type(module).__name__ in names]
    if not layers:
        raise UnsupportedModelError(
            f"model: {type(model).__name__} has no layers of the classes {sorted(names)} to shard; name its layers in "
            "fsdp_transformer_layer_cls_to_wrap of Accelerate's configuration, or train it without sharding"
        )
    device = next(model.parameters()).device
    mesh = torch.distributed.device_mesh.init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=sharding.reshard_after_forward)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)
    return model
