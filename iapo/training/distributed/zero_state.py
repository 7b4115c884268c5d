"""The state of an optimizer inside an engine of DeepSpeed: of each process the part that it has."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from iapo.policy.zero import zero_stage
from iapo.training.distributed.processes import Processes

PIECE = 2**26
"""How many numbers of another process's part travel at a time."""


def zero_state(engine: Any, optimizer: Optimizer, processes: Processes) -> dict[str, Any]:
    """What `load_zero_state` goes on from: on the first process with the parts of all, on the others without parts.

    All processes call it together. They hand their parts to the first, which keeps them in its main memory, a tensor's
    piece at a time: no device ever holds more than its own part and a piece.

    Args:
        engine: of `iapo.training.distributed.zero.Zero.engine`.
        optimizer: the torch optimizer inside.
        processes: of the run.
    """
    own = [dict(optimizer.state[part]) for part in _parts(engine)]
    shapes = [
        {name: value.to("meta") if isinstance(value, Tensor) else value for name, value in values.items()}
        for values in own
    ]
    all_shapes = processes.gather(shapes)
    parts = [
        [
            {
                name: _on_first(value, own[part][name] if source == processes.index else None, source, engine.device)
                if isinstance(value, Tensor)
                else value
                for name, value in values.items()
            }
            for part, values in enumerate(of_source)
        ]
        for source, of_source in enumerate(all_shapes)
        if processes.first or source == processes.index
    ]
    groups = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    return {
        "zero_stage": zero_stage(engine),
        "held": processes.gather(_held(engine)),
        "parts": parts if processes.first else [],
        "groups": groups,
    }


def load_zero_state(engine: Any, optimizer: Optimizer, state: Mapping[str, Any], processes: Processes) -> None:
    """Continue from `zero_state`, each process with its part.

    Raises:
        ValueError: a state of another stage of ZeRO, of another number of processes, of parts with other weights, or
            not of DeepSpeed.
    """
    parts = _parts(engine)
    saved = state.get("parts", ())
    found = f"ZeRO-{state['zero_stage']} on {len(saved)} processes" if "zero_stage" in state else "no DeepSpeed"
    wanted = f"ZeRO-{zero_stage(engine)} on {processes.size} processes"
    if found != wanted:
        raise ValueError(
            f"resume: the optimizer's state is of {found}, want {wanted}: DeepSpeed's parts are resumed as they were "
            "saved; go on as before, or start a new run from the checkpoint with --model"
        )
    if difference := _difference(state["held"][processes.index], _held(engine)):
        raise ValueError(
            f"resume: DeepSpeed divides the optimizer's state otherwise than when it was saved: on process "
            f"{processes.index} {difference}; set zero_optimization (round_robin_gradients, sub_group_size) in "
            "DeepSpeed's configuration as it was, with the same version of DeepSpeed, or start a new run from the "
            "checkpoint with --model"
        )
    # As torch's optimizers keep them: a count of steps on the CPU, unless it is read on the device.
    on_device = any(group.get("fused") or group.get("capturable") for group in state["groups"])
    for part, values in zip(parts, saved[processes.index], strict=True):
        optimizer.state[part] = {
            name: value.to(part.device) if isinstance(value, Tensor) and (value.dim() or on_device) else value
            for name, value in values.items()
        }
    for group, values in zip(optimizer.param_groups, state["groups"], strict=True):
        group.update(values)


def _on_first(like: Tensor, own: Tensor | None, source: int, device: torch.device) -> Tensor | None:
    """A tensor of the process ``source`` in the main memory of the first, which calls this with it; elsewhere ``None``.

    Args:
        like: has its shape and dtype.
        own: the tensor, on the process that has it.
        source: that process.
        device: where tensors travel.
    """
    if own is not None:
        if source == 0:
            return own.cpu()
        for piece in own.reshape(-1).split(PIECE):
            torch.distributed.send(piece.to(device), 0)
        return None
    whole = torch.empty(like.shape, dtype=like.dtype)
    for piece in whole.view(-1).split(PIECE):
        received = torch.empty(piece.shape, dtype=piece.dtype, device=device)
        torch.distributed.recv(received, source)
        piece.copy_(received)
    return whole


def _parts(engine: Any) -> list[Tensor]:
    """The flattened weights that this process steps."""
    zero = engine.optimizer
    return zero.fp32_partitioned_groups_flat if zero_stage(engine) == 3 else zero.single_partition_of_fp32_groups


def _held(engine: Any) -> list[dict[str, Any]]:
    """What each of `_parts` holds: of which weights, from where in the first of them, and how many numbers.

    In stage 3 a part has this process's share of each of its weights.
    """
    zero, parts = engine.optimizer, _parts(engine)
    names = {id(parameter): name for name, parameter in engine.module.named_parameters()}
    groups = zero.fp16_groups if zero_stage(engine) == 3 else zero.params_in_partition
    starts = [0] * len(parts) if zero_stage(engine) == 3 else zero.first_offset
    return [
        {"weights": [names[id(each)] for each in group], "start": int(start), "size": part.numel()}
        for group, start, part in zip(groups, starts, parts, strict=True)
    ]


def _difference(saved: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> str:
    """The first difference between two of `_held`; empty: there is none."""
    if len(saved) != len(now):
        return f"there were {len(saved)} parts, and are {len(now)} now"
    for part, (before, after) in enumerate(zip(saved, now, strict=True)):
        for one, other in zip_longest(before["weights"], after["weights"], fillvalue="nothing more"):
            if one != other:
                return f"part {part} had {one} where it has {other} now"
        for name in ("start", "size"):
            if before[name] != after[name]:
                return f"the {name} of part {part} was {before[name]}, and is {after[name]} now"
    return ""
