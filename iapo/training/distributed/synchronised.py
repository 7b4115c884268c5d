"""The backward passes of a step on several processes: which of them sums gradients, and what losses are scaled by."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from iapo.policy.ranks import unsynced
from iapo.policy.whole_weights import fsdp_modules
from iapo.policy.zero import zero_stage
from iapo.training.distributed.processes import Processes


def loss_scale(model: nn.Module, processes: Processes) -> int:
    """What each process multiplies its losses by, so that the step's gradient is the sum over processes.

    DDP, FSDP2 and DeepSpeed average gradients over the processes.

    Raises:
        ValueError: several processes, and a model that none of them wraps: each would train weights of its own.
    """
    wrapped = isinstance(model, DistributedDataParallel) or fsdp_modules(model) or zero_stage(model)
    if processes.size > 1 and not wrapped:
        raise ValueError(
            f"model: got {type(model).__name__} on {processes.size} processes, want it wrapped by "
            "DistributedDataParallel or fully_shard, which sum its gradients (iapo.training.distributed.parallel.wrap),"
            " or an engine of DeepSpeed (iapo.training.distributed.zero)"
        )
    return processes.size


def synced(model: nn.Module, last: bool, learns: bool) -> AbstractContextManager[Any]:
    """A forward of a step and, if it ``learns``, its backward; before the ``last`` none waits for others under DDP."""
    return nullcontext() if learns and (last or zero_stage(model)) else unsynced(model)
