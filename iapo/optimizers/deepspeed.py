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
        engine: of ``deepspeed.initialize``, with ``gradient_accumulation_steps`` 1 and nothing offloaded; the losses
            came from its forward.
        optimizer: the torch optimizer that it was given.
        scheduler: stepped after every step that was not refused.

    Raises:
        ValueError: an engine that keeps its gradients elsewhere than ZeRO-1, 2 and 3 do on the device.
    """

    def __init__(self, engine: Any, optimizer: Optimizer, scheduler: LRScheduler | None = None) -> None:
        if not hasattr(engine.optimizer, "averaged_gradients") or engine.zero_use_cpu_optimizer():
            raise ValueError(
                f"engine: got one with {type(engine.optimizer).__name__}, want ZeRO-1, 2 or 3 with the optimizer's "
                "state on the device (no offload_optimizer)"
            )
        self.engine, self._steps = engine, CountedSteps(optimizer, scheduler)
        self._bad_losses, self._reason = 0, ""
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
        bad, norm = self._found(loss.device)
        self._reason = refusal(bad, norm)
        self.engine.step()
        if not self._reason:
            norm = float(self.engine.get_global_grad_norm())  # that it clipped by
        self._bad_losses = 0
        return self._steps.count(norm, self._reason)

    def state_dict(self) -> dict[str, Any]:
        """Counters and the schedule's state: plain numbers. The torch optimizer's state is saved by its owner."""
        return self._steps.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of `state_dict`. Raises ``ValueError`` if only one side has a schedule."""
        self._steps.load_state_dict(state)

    def _found(self, device: torch.device) -> tuple[int, float]:
        """How many losses of the step are not finite, and its gradient's norm; over all processes.

        DeepSpeed's own norm does not tell in all of its versions: some take one that is not finite for 1.
        """
        gradients = [each for group in self.engine.optimizer.averaged_gradients.values() for each in group]
        norms = [torch.linalg.vector_norm(each, dtype=torch.float64) for each in gradients]
        squares = torch.stack(norms).square().sum() if norms else torch.zeros((), dtype=torch.float64, device=device)
        found = torch.stack([squares.new_tensor(self._bad_losses), squares])
        torch.distributed.all_reduce(found)
        # In fp32, in which DeepSpeed sums some stages' squares: where they overflow there, nothing is clipped.
        return int(found[0]), float(found[1].float().sqrt())

    def _withhold(self, optimizer: Optimizer, arguments: Any, options: Any) -> None:
        """Take the gradients of a refused step away, without which torch's optimizers change nothing."""
        if self._reason:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None
