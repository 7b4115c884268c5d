"""Weights that are sharded over ranks (FSDP2, ZeRO-3), gathered on each of them for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from iapo.policy.forward import several_ranks
from iapo.policy.zero import zero_gathered, zero_stage


def fsdp_modules(model: nn.Module) -> list[Any]:
    """The modules of a model whose weights FSDP2 shards (``fully_shard``), the outermost first; none on one rank."""
    if not several_ranks():
        return []
    from torch.distributed.fsdp import FSDPModule

    return [module for module in model.modules() if isinstance(module, FSDPModule)]


@contextmanager
def whole_weights(model: nn.Module) -> Iterator[None]:
    """A block in which each rank has all weights, so that it can call the model as often as it likes.

    All ranks enter and leave it together. Weights cannot be changed inside. A model whose weights are not sharded is
    left alone.
    """
    if zero_stage(model) == 3:
        with zero_gathered(model):
            yield
        return
    modules = fsdp_modules(model)
    resharding = [_reshards(module) for module in modules]
    for module in modules:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module, reshards in zip(modules, resharding, strict=True):
            module.set_reshard_after_forward(reshards, recurse=False)
            module.reshard()


def own_shards(model: nn.Module) -> list[nn.Parameter]:
    """This rank's shards of the weights that train, or all of them if FSDP2 does not shard the model.

    After a forward the outermost module holds whole weights, which get no gradients: it gives them up first.
    """
    for module in fsdp_modules(model):
        module.reshard()
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def gathered_weights(model: nn.Module) -> dict[str, Tensor] | None:
    """The weights of a model that FSDP2 shards, inside `whole_weights`; ``None`` of one that it does not shard.

    Its own ``state_dict`` would shard them again.
    """
    if not fsdp_modules(model):
        return None
    buffers = {
        f"{prefix}.{name}" if prefix else name: buffer
        for prefix, module in model.named_modules()
        for name, buffer in module.named_buffers(recurse=False)
        if name not in module._non_persistent_buffers_set
    }
    return dict(model.named_parameters(remove_duplicate=False)) | buffers


def _reshards(module: Any) -> bool:
    """Whether a module of FSDP2 gives its gathered weights up after a forward; torch has no public way to ask."""
    state = module._get_fsdp_state()
    if hasattr(state, "_fsdp_param_groups"):
        groups = state._fsdp_param_groups
    else:  # of torch 2.11: one, or none in a module without weights of its own
        groups = [group for group in [state._fsdp_param_group] if group is not None]
    return any(group.post_forward_mesh_info is not None for group in groups)
