"""The state of an optimizer inside an engine of DeepSpeed: of each process the part that it has."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from iapo.policy.zero import zero_stage
from iapo.training.processes import Processes


def zero_state(engine: Any, optimizer: Optimizer, processes: Processes) -> dict[str, Any]:
    """What `load_zero_state` goes on from, with the parts of all processes; they call it together.

    Args:
        engine: of `iapo.training.zero.Zero.engine`.
        optimizer: the torch optimizer inside.
        processes: of the run.
    """
    own = [
        {name: value.cpu() if isinstance(value, Tensor) else value for name, value in optimizer.state[part].items()}
        for part in _parts(engine)
    ]
    groups = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    return {"zero_stage": zero_stage(engine), "parts": processes.gather(own), "groups": groups}


def load_zero_state(engine: Any, optimizer: Optimizer, state: Mapping[str, Any], processes: Processes) -> None:
    """Continue from `zero_state`, each process with its part.

    Raises:
        ValueError: a state of another stage of ZeRO, of another number of processes, or not of DeepSpeed.
    """
    parts = _parts(engine)
    saved = state.get("parts", ())
    found = f"ZeRO-{state['zero_stage']} on {len(saved)} processes" if "zero_stage" in state else "no DeepSpeed"
    wanted = f"ZeRO-{zero_stage(engine)} on {processes.size} processes"
    if found != wanted or len(saved[processes.index]) != len(parts):
        raise ValueError(
            f"resume: the optimizer's state is of {found}, want {wanted}: DeepSpeed's parts are resumed as they were "
            "saved; go on as before, or start a new run from the checkpoint with --model"
        )
    for part, values in zip(parts, saved[processes.index], strict=True):
        # As torch's optimizers keep them: numbers such as the count of steps on the CPU.
        optimizer.state[part] = {
            name: value.to(part.device) if isinstance(value, Tensor) and value.dim() else value
            for name, value in values.items()
        }
    for group, values in zip(optimizer.param_groups, state["groups"], strict=True):
        group.update(values)


def _parts(engine: Any) -> list[Tensor]:
    """The flattened weights that this process steps."""
    zero = engine.optimizer
    return zero.fp32_partitioned_groups_flat if zero_stage(engine) == 3 else zero.single_partition_of_fp32_groups
