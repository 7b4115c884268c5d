"""The state of an optimizer whose parameters are sharded (FSDP2), as that of one process, and back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def whole_state(optimizer: Optimizer, keep: bool) -> dict[str, Any]:
    """The optimizer's ``state_dict``, its sharded tensors gathered one by one; all processes call it together.

    Args:
        optimizer: its parameters are sharded or not.
        keep: ``False``: this process only helps to gather, and gets ``None`` for each of these tensors.
    """
    return _map(optimizer.state_dict(), keep)


def load_whole_state(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Continue from `whole_state`, each process with its shards; all processes call it together.

    Args:
        optimizer: its parameters are sharded or not, whatever they were when the state was saved.
        state: with whole tensors.

    Raises:
        ValueError: a state that is none of whole tensors.
    """
    if "state" not in state:
        raise ValueError(
            "resume: the optimizer's state is of DeepSpeed, in parts; go on with it as before, or start a new run from "
            "the checkpoint with --model"
        )
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    shared = {
        index: {name: _like(parameters[index], value) for name, value in values.items()}
        for index, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": shared})


def _map(tree: Any, keep: bool) -> Any:
    if isinstance(tree, Mapping):
        return {key: _map(value, keep) for key, value in tree.items()}
    if not hasattr(tree, "full_tensor"):
        return tree
    whole = tree.full_tensor()
    return whole.cpu() if keep else None


def _like(parameter: nn.Parameter, value: Any) -> Any:
    """A whole tensor of a parameter's shape, sharded as that parameter is."""
    mesh = getattr(parameter, "device_mesh", None)
    if mesh is None or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    placements = getattr(parameter, "placements", None)
    return torch.distributed.tensor.distribute_tensor(value.to(parameter.device), mesh, placements)
