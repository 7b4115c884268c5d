"""What a launcher (``torchrun``, ``accelerate launch``) started this process as, and what it was configured for."""

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from iapo.policy.loading import choose_device
from iapo.training.parallel import Sharding
from iapo.training.processes import SINGLE, OtherProcessError, Processes

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
        device: as `iapo.training.settings.PolicySource` takes it.

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

    state = PartialState(cpu=choose_device(device).type == "cpu")
    try:
        yield Processes(state.process_index, state.num_processes), state.device
    except RuntimeError as error:
        if any(text in str(error) for text in _LOST):
            raise OtherProcessError("another process of the run ended; what it wrote says why") from error
        raise
    gc.collect()
    state.destroy_process_group()
    PartialState._reset_state()


def accelerate_sharding(autocast: torch.dtype | None, environment: Mapping[str, str] = os.environ) -> Sharding | None:
    """The sharding that ``accelerate launch`` was configured for; ``None``: none, which is DDP on several processes.

    Args:
        autocast: the reduced precision of forwards (``--precision``).
        environment: Accelerate's configuration as its launcher hands it on.

    Raises:
        ValueError: a setting that the run would not honour; the message says what to set instead.
    """

    def given(name: str, off: str = "") -> str:
        """A setting that is not off."""
        value = environment.get(name, off)
        return "" if value.lower() in (off.lower(), "false", "no", "none", "") else value

    def refuse(reasons: Mapping[str, str]) -> None:
        for name, reason in reasons.items():
            if value := given(name):
                raise ValueError(f"accelerate: {name} is {value}; {reason}")

    refuse(
        {
            "ACCELERATE_USE_DEEPSPEED": "DeepSpeed was not tried with this loop; FSDP (fsdp_version 2) does the same: "
            "fsdp_reshard_after_forward true is ZeRO-3, false is ZeRO-2",
            "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM has models of its own; use FSDP (fsdp_version 2)",
            "ACCELERATE_USE_PARALLELISM_CONFIG": "tensor, context and sequence parallelism are not supported; use FSDP",
            "ACCELERATE_DYNAMO_BACKEND": "torch.compile is not applied by the loop; set dynamo_backend to no",
        }
    )
    precision = given("ACCELERATE_MIXED_PRECISION")
    if precision and (precision != "bf16" or autocast is not torch.bfloat16):
        raise ValueError(
            f"accelerate: mixed_precision is {precision}, and --precision decides here; set --precision bf16 with "
            "mixed_precision bf16 or no, or --precision fp32 with no"
        )
    if given("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", off="1"):
        raise ValueError("accelerate: gradient_accumulation_steps is set; leave it 1, --micro_batch splits an update")
    if not given("ACCELERATE_USE_FSDP"):
        return None
    refuse(
        {
            "FSDP_OFFLOAD_PARAMS": "weights stay on the device; set fsdp_offload_params to false",
            "FSDP_ACTIVATION_CHECKPOINTING": "use --gradient_checkpointing true, and set this to false",
            "FSDP_IGNORED_MODULES": "all weights are sharded; leave it out",
        }
    )
    if environment.get("FSDP_VERSION", "1") != "2":
        raise ValueError("accelerate: fsdp_version is 1; set it to 2")
    if (strategy := environment.get("FSDP_SHARDING_STRATEGY", "FULL_SHARD")) not in ("FULL_SHARD", "1"):
        raise ValueError(
            f"accelerate: fsdp_sharding_strategy is {strategy}, which fsdp_version 2 does not have; leave it out, "
            "fsdp_reshard_after_forward false does what SHARD_GRAD_OP did"
        )
    if environment.get("FSDP_AUTO_WRAP_POLICY") == "SIZE_BASED_WRAP":
        raise ValueError("accelerate: fsdp_auto_wrap_policy is SIZE_BASED_WRAP; set it to TRANSFORMER_BASED_WRAP")
    layers = given("FSDP_TRANSFORMER_CLS_TO_WRAP")
    reshard = environment.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower()
    return Sharding(tuple(layers.split(",")) if layers else (), reshard not in ("false", "shard_grad_op"))
