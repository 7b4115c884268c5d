"""The processes that a launcher (``torchrun``, ``accelerate launch``) started, connected."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch

from iapo.policy.loading import choose_device
from iapo.training.distributed.processes import SINGLE, OtherProcessError, Processes

_PATIENCE = timedelta(hours=2)
"""How long a process waits for another, which may score for as long as a reward may take, or save a large model. NCCL's
own 10 minutes are the usual limit of a reward, and less than a checkpoint takes on a slow disk."""

_LOST = ("closed by peer", "reset by peer", "remote process exited")
"""What gloo and NCCL say of a process that is not there any more."""


def launched_processes() -> int:
    """How many processes a launcher started for this run: its ``WORLD_SIZE``, 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(device: str) -> Iterator[tuple[Processes, torch.device]]:
    """The processes that a launcher started, connected for this block, and the device of this one.

    Accelerate's state connects them. What holds the wrapped policy must be gone when the block ends: a DDP that is
    freed after its connection would wait forever. A block that fails leaves them connected: the process ends, and with
    it, through the launcher, all others.

    Args:
        device: as `iapo.training.configuration.policy_source.PolicySource` takes it.

    Raises:
        ValueError: several processes on one numbered CUDA device.
        OtherProcessError: another process ended while this one waited for it.
    """
    size = launched_processes()
    if size == 1:
        yield SINGLE, choose_device(device)
        return
    if ":" in device:
        raise ValueError(f"device: got {device!r} for {size} processes, want auto, cpu or cuda: each takes its own")
    from accelerate import PartialState

    state = PartialState(cpu=choose_device(device).type == "cpu", timeout=_PATIENCE)
    try:
        yield Processes(state.process_index, state.num_processes), state.device
    except RuntimeError as error:
        if isinstance(error, torch.distributed.DistNetworkError) or any(text in str(error) for text in _LOST):
            raise OtherProcessError(
                "another process of the run ended; what it wrote says why, and if it wrote nothing it was killed, as "
                "the system does where memory runs out. If a checkpoint was saved, --resume goes on"
            ) from error
        raise
    gc.collect()
    if "deepspeed" in sys.modules and sys.modules["deepspeed"].comm.is_initialized():
        sys.modules["deepspeed"].comm.destroy_process_group()  # torch's, and what DeepSpeed remembers of it
    else:
        state.destroy_process_group()
    PartialState._reset_state()
