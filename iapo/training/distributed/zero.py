"""A policy in an engine of DeepSpeed, which shares optimizer, gradients and weights out over the processes (ZeRO)."""

import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn, optim
from torch.optim import Optimizer

from iapo.ops.extras import check_installed
from iapo.policy.zero import keep_autocast

ELEMENTWISE = (
    optim.Adadelta,
    optim.Adam,
    optim.AdamW,
    optim.Adamax,
    optim.NAdam,
    optim.RAdam,
    optim.RMSprop,
    optim.Rprop,
    optim.SGD,
)
"""Optimizers that treat each number by itself, so that it does not matter which of them lie in one tensor."""


@dataclass(frozen=True)
class Zero:
    """How DeepSpeed shares a policy out over the processes.

    Args:
        stage: 1 shares the optimizer's state out, 2 gradients too, 3 weights too.
        options: further entries of ``zero_optimization`` in DeepSpeed's configuration, which change memory and speed.
        any_optimizer: take optimizers that are not known to treat each number by itself
            (``zero_allow_untested_optimizer``).

    Raises:
        ValueError: another stage.
    """

    stage: int = 2
    options: Mapping[str, Any] = field(default_factory=dict)
    any_optimizer: bool = False

    def __post_init__(self) -> None:
        if self.stage not in (1, 2, 3):
            raise ValueError(f"stage: got {self.stage}, want 1, 2 or 3")

    def __str__(self) -> str:
        """The stage and the options."""
        return ", ".join([f"ZeRO-{self.stage}", *(f"{name} {value}" for name, value in sorted(self.options.items()))])

    def engine(self, model: nn.Module, optimizer: Optimizer | None, max_grad_norm: float | None = None) -> Any:
        """The engine of a policy and of the torch optimizer of its parameters; all processes call it together.

        Args:
            model: on this process's device, in fp32, with the same weights everywhere.
            optimizer: steps those parameters that are trained; ``None``: of stage 3, the engine only runs forwards.
            max_grad_norm: the gradient is scaled down to this L2 norm; ``None``: never.

        Raises:
            ValueError: an optimizer that looks at whole weights, of which each process has flattened parts.
            ModuleNotFoundError: DeepSpeed is not installed.
        """
        if optimizer is not None and not self.any_optimizer and type(optimizer) not in ELEMENTWISE:
            names = ", ".join(each.__name__ for each in ELEMENTWISE)
            raise ValueError(
                f"optimizer: got {type(optimizer).__name__}, want one of {names}: DeepSpeed gives it flattened parts "
                "of weights; if it treats each number by itself, set zero_allow_untested_optimizer in DeepSpeed's "
                "configuration, else use FSDP"
            )
        deepspeed = _deepspeed(next(model.parameters()).device)
        config = {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": max_grad_norm or 0.0,
            "zero_allow_untested_optimizer": True,
            "zero_optimization": {**self.options, "stage": self.stage},
        }
        engine = deepspeed.initialize(model=model, optimizer=optimizer, config=config)[0]
        keep_autocast(engine)
        return engine


def _deepspeed(device: torch.device) -> Any:
    """The package, for a device, and quiet about what is as it should be."""
    if device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    check_installed("deepspeed", "deepspeed")
    import deepspeed

    # Sums in shared memory, for inference, which it would compile at the start.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", r"`torch\.distributed\.", FutureWarning)
    return deepspeed
