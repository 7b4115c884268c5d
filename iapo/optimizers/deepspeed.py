"""A policy optimizer around an engine of DeepSpeed, which clips and steps by itself."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from iapo.interfaces import PolicyOptimizer
from iapo.optimizers.counted import CountedSteps, refusal
from iapo.types import StepStats


class DeepSpeedOptimizer(PolicyOptimizer):
    """Steps an engine of DeepSpeed (ZeRO-1, 2 or 3) at boundaries, all processes together.

    Each loss goes back through the engine, which averages gradients over the processes, clips their global norm and
    steps the torch optimizer on this process's part of the weights. A step is refused for the same reasons as by
    `iapo.ClippedOptimizer`, if they hold on any process, with weights and optimizer state untouched.

    Args:
        engine: of ``deepspeed.initialize``, with ``gradient_accumulation_steps`` 1; the losses came from its forward.
        optimizer: the torch optimizer that it was given.
        scheduler: stepped after every step that was not refused.
    """

    def __init__(self, engine: Any, optimizer: Optimizer, scheduler: LRScheduler | None = None) -> None:
        self.engine, self._steps = engine, CountedSteps(optimizer, scheduler)
        self._bad_losses = 0
        optimizer.register_step_pre_hook(self._withhold)

    def accumulate(self, loss: Float[Tensor, ""], boundary: bool) -> StepStats | None:
        """Back-propagate a loss and, at a boundary, step.

        Raises:
            ValueError: a loss without a gradient, for which the other processes would wait.
        """
        if not loss.requires_grad:
            raise ValueError("loss: has no gradient, want one that every process can back-propagate")
        self._bad_losses += not bool(loss.isfinite())
        self.engine.set_gradient_accumulation_boundary(boundary)
        self.engine.backward(loss)
        if not boundary:
            return None
        bad = torch.tensor(self._bad_losses, device=loss.device)
        torch.distributed.all_reduce(bad)
        self._bad_losses = int(bad)
        self.engine.step()
        norm = float(self.engine.get_global_grad_norm())
        reason = refusal(self._bad_losses, norm)
        self._bad_losses = 0
        return self._steps.count(norm, reason)

    def state_dict(self) -> dict[str, Any]:
        """Counters and the schedule's state: plain numbers. The torch optimizer's state is saved by its owner."""
        return self._steps.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of `state_dict`. Raises ``ValueError`` if only one side has a schedule."""
        self._steps.load_state_dict(state)

    def _withhold(self, optimizer: Optimizer, arguments: Any, options: Any) -> None:
        """Take the gradients of a refused step away, without which torch's optimizers change nothing.

        The engine knows the norm only now, and skips by itself only a step whose norm is not finite.
        """
        if refusal(self._bad_losses, float(self.engine.optimizer._global_grad_norm)):
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None
